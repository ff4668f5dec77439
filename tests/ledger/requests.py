"""URLs of an account, and money requests to them, through a test client and through a server."""

import uuid
from typing import Any

from tests.support.client import Request


def url(account, operation=""):
    return f"/api/v1/accounts/{account.pk}/{operation and operation + '/'}"


def ask(client, account, operation, key=None, **body):
    key = key or str(uuid.uuid4())
    return client.post(url(account, operation), body, headers={"Idempotency-Key": key})


def money_request(account: Any, verb: str, body: dict[str, Any], key: str | None = None) -> Request:
    return Request.keyed(f"/api/v1/accounts/{account}/{verb}/", body, key)
