"""Fuzzing by Schemathesis: requests that docs/openapi.yaml allows, and requests that it forbids.

All phases (examples, coverage, fuzzing, stateful) and all checks; 625 cases an operation for each of three seeds in the
long size. Its configuration and hooks are in tests/live/fuzz.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from django.contrib.auth.hashers import make_password
from django.utils import timezone

from apps.core import housekeeping
from apps.users.models import Token, User, digest_of, new_key
from tests.factories import PASSWORD, UserFactory, token_of
from tests.support.endpoints import APPS, ENDPOINTS, OPERATIONS, is_anonymous, unite
from tests.support.paths import OPENAPI_DOCUMENT, ROOT

pytestmark = pytest.mark.django_db(transaction=True)

FUZZ = Path(__file__).parent / "fuzz"
KNOWN = """
[dictionaries.{name}]
from-file = "{name}"
[parameters."{parameter}"]
dictionary = "{name}"
probability = 0.7
"""


class Size(NamedTuple):
    """Size of a run: all phases together must reach a success of every operation, the short run need not."""

    phases: str
    examples: int
    at_least: int


QUICK = Size("fuzzing", 4, 3 * len(OPERATIONS))
LONG = Size("examples,coverage,fuzzing,stateful", 750, 625 * len(OPERATIONS))


@pytest.mark.parametrize(
    ("size", "number"),
    [
        pytest.param(QUICK, 0, id="quick", marks=pytest.mark.slow),
        *(pytest.param(LONG, number, id=f"long-{number}", marks=pytest.mark.long) for number in range(3)),
    ],
)
def test_nothing_that_a_schema_reader_sends_breaks_a_promise(server, tmp_path, seed, size, number):
    describe_the_world(tmp_path, spare=size.at_least)

    seed += number
    done = schemathesis(server.address, tmp_path, seed=seed, size=size)

    assert done.returncode == 0, done.stdout
    answers = Counter((tmp_path / "answers").read_text().splitlines())
    print(
        f"seed {seed}, {answers.total()} requests:",
        ", ".join(f"{number} x {what}" for what, number in sorted(answers.items())),
    )
    assert answers.total() >= size.at_least
    if size is LONG:
        succeeded = {what.split()[0] for what in answers if what.split()[1].startswith("2")}
        # After a hundred wrong passwords from its one address, nobody there can change theirs: not each seed is in time.
        assert operations().keys() - succeeded <= {"user_change_password"}
    found = {name: check() for name, check in housekeeping.checks.items()}
    assert not any(found.values()), found
    assert server.complaints() == []


def schemathesis(address: tuple[str, int], folder: Path, *, seed: int, size: Size) -> subprocess.CompletedProcess:
    """Run Schemathesis in a process and a folder of its own, so that its plugins and files are its own, too."""
    host, port = address
    options = [f"--url=http://{host}:{port}", f"--seed={seed}", "--workers=2"]
    options += [f"--phases={size.phases}", f"--max-examples={size.examples}"]
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", OPENAPI_DOCUMENT, *options],
        cwd=folder,
        env=os.environ | {"FUZZ_DIR": str(folder), "PYTHONPATH": str(ROOT)},  # noqa: TID251  the child's is ours
        capture_output=True,
        text=True,
        check=False,
    )


def operations() -> dict[str, str]:
    """Return the path of each operation of the document by its id."""
    paths = yaml.safe_load(OPENAPI_DOCUMENT.read_text())["paths"]
    return {operation["operationId"]: path for path, methods in paths.items() for operation in methods.values()}


def known_values(owner: User) -> dict[str, Sequence[str]]:
    """Make objects of every app, and return what names them, by Schemathesis's name of the parameter."""
    names = unite(app.create_objects(owner) for app in APPS.values())
    documented = operations()
    known: dict[str, Sequence[str]] = {}
    for operation_id, operation in OPERATIONS.items():
        ours = operation.path or ENDPOINTS[operation.endpoint].path
        for name, parameter in zip(
            *(re.findall(r"{(\w+)}", path) for path in (ours, documented[operation_id])), strict=True
        ):
            known[f"path.{parameter}"] = [names[name]]
    return known | unite(app.known_values(owner) for app in APPS.values())


def describe_the_world(folder: Path, *, spare: int) -> None:
    """Write down what a member of staff has, a user's name and password, tokens, and facts of operations."""
    staff = UserFactory(is_staff=True)
    known = {"usernames": [UserFactory().username], "passwords": [PASSWORD]}
    configuration = (FUZZ / "schemathesis.toml").read_text()
    for parameter, values in known_values(staff).items():
        name = parameter.replace(".", "_")
        known[name] = [*values]
        configuration += KNOWN.format(name=name, parameter=parameter)
    (folder / "schemathesis.toml").write_text(configuration)
    facts = {
        name: {
            "kills_token": operation.kills_token,
            "is_anonymous": is_anonymous(operation),
            "refusals": sorted(operation.refusals),
        }
        for name, operation in OPERATIONS.items()
    }
    (folder / "operations.json").write_text(json.dumps(facts))
    for name, values in known.items():
        (folder / name).write_text("\n".join(map(json.dumps, values)))
    (folder / "main_tokens").write_text(token_of(staff))
    (folder / "spare_tokens").write_text("\n".join(tokens_of_many_users(spare)))


def tokens_of_many_users(number: int) -> list[str]:
    now, password = timezone.now(), make_password(PASSWORD)
    keys = [new_key() for _ in range(number)]
    users = [User(username=f"spare-{n}", password=password) for n in range(number)]
    User.objects.bulk_create(users)
    Token.objects.bulk_create(
        Token(user=user, digest=digest_of(key), created_at=now, expires_at=now + timedelta(hours=5))
        for user, key in zip(users, keys, strict=True)
    )
    return keys
