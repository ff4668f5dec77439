"""What Schemathesis is told beyond its configuration: whose tokens to send, and which refusals the state decides.

It runs in a process of its own, without Django; what it needs is in the folder that FUZZ_DIR names.
"""

import itertools
import os
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import Any

import schemathesis

FOLDER = Path(os.environ["FUZZ_DIR"])  # noqa: TID251  how a parent tells its child
TOKENS = {name: iter((FOLDER / f"{name}_tokens").read_text().split()) for name in ("main", "spare")}
MAIN = next(TOKENS["main"])
ANSWERS = (FOLDER / "answers").open("a", buffering=1)
NUMBERS = itertools.count()
# In server/gunicorn_conf.py.
LONGEST_LINE = 4094
# They kill the token they are sent with.
DEADLY = ["token_revoke", "user_change_password"]
PUBLIC = ["token_create", "user_register"]

MONEY = {
    "account_closed",
    "balance_limit_exceeded",
    "currency_mismatch",
    "idempotency_key_reused",
    "insufficient_funds",
    "max_decimal_places",
}
STATE_DECIDES = {
    "token_create": {"invalid_credentials"},
    "user_register": {"unique", "weak_password"},
    "user_change_password": {"invalid_credentials", "weak_password"},
    "account_list": {"invalid_cursor"},
    "account_statement": {"invalid_cursor"},
    "account_open": {"idempotency_key_reused"},
    "account_retrieve": {"precondition_failed"},
    "account_rename": {"precondition_failed"},
    "account_close": {"account_not_empty"},
    "account_deposit": MONEY,
    "account_withdraw": MONEY,
    "account_transfer": MONEY | {"same_account", "destination_invalid"},
    "transaction_reverse": MONEY | {"already_reversed", "not_reversible"},
}
"""Refusals of requests that the schema allows, by their codes or those of their fields: what it cannot know."""


class Token:
    """The API's own way to send a token."""

    def set(self, case: Any, data: str, ctx: Any) -> None:
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Token {data}"


@schemathesis.auth(refresh_interval=None).apply_to(operation_id=DEADLY)
class SpareToken(Token):
    """Another one each time."""

    def get(self, case: Any, ctx: Any) -> str:
        return next(TOKENS["spare"])


@schemathesis.auth(refresh_interval=None).skip_for(operation_id=DEADLY + PUBLIC)
class MainToken(Token):
    """The same one for all."""

    def get(self, case: Any, ctx: Any) -> str:
        return MAIN


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give most well-formed money requests a key of their own; generated ones are all alike."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key and case.meta and case.meta.generation.mode.is_positive and next(NUMBERS) % 4:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Drop a refusal of valid data only where the state decides it, and gunicorn's own of a line that is too long for it."""
    if response.status_code == HTTPStatus.REQUEST_URI_TOO_LONG:
        line = f"{response.request.method} {response.request.path_url} HTTP/1.1"
        return len(line) <= LONGEST_LINE
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    problem = response.json()
    codes = {error["code"] for error in problem.get("errors", [])} or {problem["code"]}
    return not codes <= STATE_DECIDES.get(case.operation.definition.raw["operationId"], set())


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Keep the score."""
    print(case.operation.definition.raw["operationId"], response.status_code, file=ANSWERS)
