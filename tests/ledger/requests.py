"""URLs of an account, and money requests to them through a test client."""

import uuid


def url(account, operation=""):
    return f"/api/v1/accounts/{account.pk}/{operation and operation + '/'}"


def ask(client, account, operation, key=None, **body):
    key = key or str(uuid.uuid4())
    return client.post(url(account, operation), body, headers={"Idempotency-Key": key})
