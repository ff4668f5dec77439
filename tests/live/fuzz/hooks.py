"""Schemathesis hooks: the tokens to send, and the refusals that the state decides.

Schemathesis runs in a process of its own, without Django; what the hooks need is in the folder that FUZZ_DIR names.
"""

import itertools
import json
import os
import re
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import Any

import schemathesis

FOLDER = Path(os.environ["FUZZ_DIR"])  # noqa: TID251  the parent sets it
TOKENS = {name: iter((FOLDER / f"{name}_tokens").read_text().split()) for name in ("main", "spare")}
MAIN = next(TOKENS["main"])
ANSWERS = (FOLDER / "answers").open("a", buffering=1)
NUMBERS = itertools.count()
# In server/gunicorn_conf.py.
LONGEST_LINE = 4094
# In a header, which RFC 9110 §5.5 forbids: gunicorn answers by itself, in HTML.
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0A-\x1F\x7F]")
# What tests/live/test_fuzz.py wrote down of the apps' tests/<app>/endpoints.py.
OPERATIONS = json.loads((FOLDER / "operations.json").read_text())
KILL_THEIR_TOKEN = [name for name, operation in OPERATIONS.items() if operation["kills_token"]]
PUBLIC = [name for name, operation in OPERATIONS.items() if operation["is_anonymous"]]


class Token:
    """The API's own way to send a token."""

    def set(self, case: Any, data: str, ctx: Any) -> None:
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Token {data}"


@schemathesis.auth(refresh_interval=None).apply_to(operation_id=KILL_THEIR_TOKEN)
class SpareToken(Token):
    """A token that is sent once."""

    def get(self, case: Any, ctx: Any) -> str:
        return next(TOKENS["spare"])


@schemathesis.auth(refresh_interval=None).skip_for(operation_id=KILL_THEIR_TOKEN + PUBLIC)
class MainToken(Token):
    """The token of a member of staff, for all requests."""

    def get(self, case: Any, ctx: Any) -> str:
        return MAIN


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give most well-formed requests that take a key one of their own; generated ones are all alike."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key and case.meta and case.meta.generation.mode.is_positive and next(NUMBERS) % 4:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


def text(header: str | bytes) -> str:
    return header if isinstance(header, str) else header.decode("latin-1")


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Drop refusals of valid data only where the state decides them, and gunicorn's own: long lines, control characters."""
    if response.status_code == HTTPStatus.BAD_REQUEST and "text/html" in (response.headers.get("content-type") or [""]):
        return not any(CONTROL_CHARACTER.search(text(value)) for value in response.request.headers.values())
    if response.status_code == HTTPStatus.REQUEST_URI_TOO_LONG:
        line = f"{response.request.method} {response.request.path_url} HTTP/1.1"
        return len(line) <= LONGEST_LINE
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    problem = response.json()
    codes = {error["code"] for error in problem.get("errors", [])} or {problem["code"]}
    return not codes <= set(OPERATIONS[case.operation.definition.raw["operationId"]]["refusals"])


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Write down the operation and the status, for the counts of the test."""
    print(case.operation.definition.raw["operationId"], response.status_code, file=ANSWERS)
