"""A task of deploy/ecs/web.json on this machine: gunicorn and nginx, started and stopped in the order that ECS does.

ECS starts a container after those that it depends on, and stops it before them (AWS, ContainerDependency: "When a dependency
is defined for container startup, for container shutdown it is reversed"). Each gets the image's stop signal, SIGTERM.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from tests.support.client import Address
from tests.support.nginx import Nginx
from tests.support.paths import ROOT
from tests.support.patience import HANG_S
from tests.support.production import PRODUCTION
from tests.support.server import Instance

# The tests' database has no certificate.
NOT_HERE: Final = "DATABASE_SSLMODE"


@cache
def definition() -> dict[str, dict[str, Any]]:
    """Return the containers of web.json by their names."""
    containers = json.loads((ROOT / "deploy" / "ecs" / "web.json").read_text())["containerDefinitions"]
    return {container["name"]: container for container in containers}


def starting_order() -> list[str]:
    """Return the containers' names, each after those that it depends on."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for each in definition()[name].get("dependsOn", []):
            add(each["containerName"])
        if name not in ordered:
            ordered.append(name)

    for name in definition():
        add(name)
    return ordered


def environment() -> dict[str, str]:
    """Return what web.json itself sets for the application, without what Terraform's outputs fill in."""
    named = {each["name"]: each["value"] for each in definition()["web"]["environment"]}
    return {name: value for name, value in named.items() if "${" not in value and name != NOT_HERE}


class Task:
    """Both containers of a task, with production's settings, on a database of the tests."""

    def __init__(
        self, folder: Path, database_url: str, *, replacing: Mapping[str, str] | None = None, **settings: str
    ) -> None:
        folder.mkdir()
        given = PRODUCTION | {"ALLOWED_HOSTS": "127.0.0.1", "DATABASE_URL": database_url, "REDIS_URL": ""}
        own = environment()
        self.app = Instance(
            database_url,
            folder / "gunicorn.log",
            workers=int(own.pop("WEB_CONCURRENCY")),
            threads=4,
            **given | own | settings,
        )
        self.nginx = Nginx(folder / "nginx", [self.app.address], replacing=replacing)
        self._containers: dict[str, Instance | Nginx] = {"web": self.app, "nginx": self.nginx}
        self.exit_codes: dict[str, int] = {}

    @property
    def address(self) -> Address:
        """Where the load balancer sends requests."""
        return self.nginx.address

    def __enter__(self) -> Self:
        for name in starting_order():
            self._containers[name].__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for _ in self.stopping():
            pass
        for container in self._containers.values():
            container.__exit__()

    def stopping(self) -> Iterator[str]:
        """Stop each container once those that depend on it have ended; yield the name of each that got SIGTERM."""
        for name in reversed(starting_order()):
            if name in self.exit_codes:
                continue
            self._containers[name].terminate()
            yield name
            self.exit_codes[name] = self._containers[name].exit_code(within_s=2 * HANG_S)
