"""One host: compose.production.yml, and deploy/one-host/run with a stand-in for Docker."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.env import KEYS
from tests.support.paths import ROOT
from tests.support.patience import HANG_S

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.production.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
# Prints what it is asked; images whose name says so do not exist, or do not start.
DOCKER = """#!/bin/sh
echo "$IMAGE: $*" | sed 's/compose .*--env-file production.settings //' >>"$LOG"
case "$IMAGE $*" in
    *"pull missing"* | "dies "*"--force-recreate"* | "unmigrated "*"run --rm migrate"*) exit 1 ;;
    *"image inspect missing"*) exit 1 ;;
    *" ps --quiet --status running nginx") echo nginx ;;
esac
"""


class Host:
    """A checkout of these files only, on a machine whose Docker writes its calls down."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.log = folder / "log"
        shutil.copytree(ROOT / "deploy" / "one-host", self.checkout / "deploy" / "one-host")
        (folder / "docker").write_text(DOCKER)
        (folder / "docker").chmod(0o755)
        self.path = f"{folder}:{os.defpath}"

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        env = {"PATH": self.path, "LOG": str(self.log), **variables}
        command = [self.checkout / "deploy" / "one-host" / "run", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def calls(self) -> list[str]:
        """Return the calls that change something, without what the shell in a container is told."""
        found = [line for line in self.log.read_text().splitlines() if re.match(r"\w*: ", line)]
        return [
            re.sub(r"sh -c .*", "balance", line) for line in found if " ps " not in line and "image inspect" not in line
        ]

    def balanced(self) -> list[str]:
        """Return the instances that nginx was given, one list after the other."""
        return re.findall(r"-s reload -- (.*)", self.log.read_text())

    def settings(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.checkout / "production" / "settings").read_text().splitlines())


@pytest.fixture
def host(tmp_path) -> Host:
    host = Host(tmp_path)
    made = host.run("init", "api.example.org", "--self-signed")
    assert made.returncode == 0, made.stderr
    return host


class TestInit:
    def test_secrets_that_nobody_else_can_reach(self, host):
        production = host.checkout / "production"
        secrets = {file.name: file.read_text() for file in (production / "secrets").iterdir()}

        assert production.stat().st_mode & 0o777 == 0o700
        assert set(secrets) == set(COMPOSE["secrets"])
        assert len(set(secrets.values())) == len(secrets)
        assert f":{secrets['serving_password']}@db" in secrets["DATABASE_URL"]
        assert f":{secrets['owner_password']}@db" in secrets["MIGRATION_DATABASE_URL"]
        for name in ("SECRET_KEY", "DATABASE_URL", "MIGRATION_DATABASE_URL"):
            unsafe = KEYS[name].unsafe
            assert KEYS[name].type.parse(secrets[name])
            assert unsafe is None or not unsafe(secrets[name])

    def test_a_certificate_of_its_own_authority(self, host):
        verify = ["openssl", "verify", "-CAfile", "ca.pem", "-verify_hostname", "api.example.org", "fullchain.pem"]
        done = subprocess.run(
            verify, cwd=host.checkout / "production" / "tls", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def test_once_only(self, host):
        before = (host.checkout / "production" / "secrets" / "SECRET_KEY").read_text()
        assert "exists: nothing was changed" in host.run("init", "api.example.org").stderr
        assert (host.checkout / "production" / "secrets" / "SECRET_KEY").read_text() == before

    @pytest.mark.parametrize("domain", ["https://api.example.org", "API.example.org", "a b", ""])
    def test_not_a_domain(self, tmp_path, domain):
        host = Host(tmp_path)
        assert "is not a domain" in host.run("init", domain).stderr
        assert not (host.checkout / "production").exists()


class TestUpgrade:
    def test_the_first_one_has_nothing_to_back_up(self, host):
        assert host.run("upgrade", "first").returncode == 0
        assert not any("backup rotate" in call for call in host.calls())
        assert host.settings()["IMAGE"] == "first"
        assert host.settings()["DOMAIN"] == "api.example.org"

    def test_one_instance_after_the_other_behind_the_other(self, host):
        host.run("upgrade", "first")
        done = host.run("upgrade", "second")

        assert done.returncode == 0, done.stderr
        assert host.calls() == [
            "second: up --detach --wait db redis",
            "second: run --rm --no-deps backup backup rotate /backups 14",
            "second: run --rm migrate",
            "second: exec --no-TTY nginx balance",
            "second: up --detach --force-recreate --wait --wait-timeout 120 app-1",
            "second: exec --no-TTY nginx balance",
            "second: up --detach --force-recreate --wait --wait-timeout 120 app-2",
            "second: exec --no-TTY nginx balance",
            "second: up --detach",
            "second: up --detach --wait --wait-timeout 120 nginx",
        ]
        assert host.balanced() == ["app-2", "app-1", "app-1 app-2"]
        assert (host.settings()["IMAGE"], host.settings()["PREVIOUS_IMAGE"]) == ("second", "first")

    def test_a_migration_that_fails_replaces_nothing(self, host):
        host.run("upgrade", "first")
        assert host.run("upgrade", "unmigrated").returncode == 1
        assert not host.balanced()
        assert host.settings()["IMAGE"] == "first"

    def test_an_instance_that_does_not_start_is_taken_back(self, host):
        host.run("upgrade", "first")
        done = host.run("upgrade", "dies")

        assert done.returncode == 1
        assert "app-1 did not become ready with dies" in done.stderr
        assert host.calls()[-2:] == [
            "first: up --detach --wait --wait-timeout 120 app-1 app-2",
            "first: exec --no-TTY nginx balance",
        ]
        assert host.balanced() == ["app-2", "app-1 app-2"]
        assert host.settings()["IMAGE"] == "first"

    def test_an_image_that_cannot_be_had(self, host):
        assert "there is no image missing" in host.run("upgrade", "missing").stderr


class TestRollback:
    def test_back_and_forth_without_a_migration(self, host):
        for image in ("first", "second", "second"):
            assert host.run("upgrade", image).returncode == 0
        for image, before in (("first", "second"), ("second", "first")):
            assert host.run("rollback").returncode == 0
            assert not any("migrate" in call for call in host.calls())
            assert (host.settings()["IMAGE"], host.settings()["PREVIOUS_IMAGE"]) == (image, before)

    def test_nothing_to_go_back_to(self, host):
        host.run("upgrade", "first")
        assert "there is no image to go back to" in host.run("rollback").stderr


class TestRestore:
    def test_stops_restores_migrates_verifies_and_starts(self, host):
        host.run("upgrade", "first")
        (host.checkout / "production" / "backups" / "x.dump").touch()

        assert "FORCE=1 does it" in host.run("restore", "x.dump").stderr
        assert host.calls() == []
        assert host.run("restore", "production/backups/x.dump", FORCE="1").returncode == 0
        assert [call.removeprefix(": ") for call in host.calls()] == [
            "stop app-1 app-2 housekeeping",
            "run --rm --no-deps --env FORCE=1 backup backup restore /backups/x.dump",
            "run --rm migrate",
            "run --rm housekeeping python manage.py housekeeping --verify",
            "up --detach",
        ]

    def test_no_such_backup(self, host):
        assert "there is no backup" in host.run("restore", "y.dump", FORCE="1").stderr
        assert host.calls() == []


class TestCompose:
    def test_only_nginx_is_reachable_from_outside(self):
        published = {name: str(port) for name, service in SERVICES.items() for port in service.get("ports", ())}
        assert {name for name, port in published.items() if not port.startswith("127.0.0.1:")} == {"nginx"}

    def test_images_are_plain_tags(self):
        images = {service["image"] for service in SERVICES.values()} - {SERVICES["app-1"]["image"]}
        assert all(re.fullmatch(r"[a-z/]+:v?\d[\w.-]*", image) for image in images), images

    def test_each_key_is_declared(self):
        assert SERVICES["app-1"]["environment"].keys() <= KEYS.keys()
        assert {name for name in COMPOSE["secrets"] if name.isupper()} <= KEYS.keys()

    def test_connections_fit_the_role_and_the_server(self):
        """Both instances, and those that replace them one at a time, within the role's limit."""
        environment = SERVICES["app-1"]["environment"]
        workers = int(environment.get("WEB_CONCURRENCY", KEYS["WEB_CONCURRENCY"].default))
        used = int(environment["WEB_REPLICAS"]) * workers * (KEYS["GUNICORN_THREADS"].default + 1)
        limit = re.search(r"CONNECTION LIMIT (\d+)", (ROOT / "deploy" / "one-host" / "roles.sql").read_text())
        assert limit is not None
        assert used < int(limit[1]) < int(environment["DATABASE_MAX_CONNECTIONS"])

    def test_nginx_has_each_instance(self):
        upstream = (ROOT / "deploy" / "one-host" / "nginx" / "upstream.conf").read_text()
        targets = yaml.safe_load((ROOT / "deploy" / "one-host" / "prometheus.yml").read_text())
        instances = {name for name in SERVICES if name.startswith("app-")}
        assert set(re.findall(r"server (\S+):8000 max_conns=128;", upstream)) == instances
        (job,) = targets["scrape_configs"]
        assert set(job["static_configs"][0]["targets"]) == {f"{name}:9464" for name in instances}
        assert len(instances) == int(SERVICES["app-1"]["environment"]["WEB_REPLICAS"])


@pytest.mark.parametrize(
    ("files", "given", "seen"),
    [
        ({"SECRET_KEY": "from a file\n"}, {}, "from a file"),
        ({"SECRET_KEY": "a 'quoted' $value"}, {}, "a 'quoted' $value"),
        ({"SECRET_KEY": "from a file"}, {"SECRET_KEY": "given"}, "given"),
        ({"secret_key": "another name", "SECRET_KEY.old": "-"}, {}, ""),
    ],
)
def test_secrets_in_files_become_variables(tmp_path, files, given, seen):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    env = {"PATH": os.defpath, "SECRETS_FOLDER": str(tmp_path), **given}
    command = [ROOT / "docker" / "entrypoint", "sh", "-c", 'printf %s "$SECRET_KEY"']
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == seen


def test_nightly_runs_a_command_at_its_time(tmp_path):
    """At 10:00 and again at 02:15, by a clock that stands still; the third time, the work ends it."""
    log = tmp_path / "log"
    stand_ins = {
        "date": 'case "$*" in *"-d 02:15 "*) echo 8100 ;; *) echo 36000 ;; esac',
        "sleep": f'echo "slept $1" >>{log}',
        "work": f"echo ran >>{log}; [ $(grep -c ran {log}) -lt 3 ] || kill $PPID; exit 4",
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    nightly = [ROOT / "deploy" / "one-host" / "nightly", "02:15", "work"]
    env = {"PATH": f"{tmp_path}:{os.defpath}"}
    done = subprocess.run(nightly, env=env, capture_output=True, text=True, check=False, timeout=HANG_S)

    assert log.read_text().splitlines() == ["slept 58500", "ran"] * 3
    assert done.stderr.startswith("nightly: 'work' exits with 4\n")
    assert done.returncode == 0
