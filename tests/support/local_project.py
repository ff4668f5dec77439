"""Local server and client in a process of its own: migrates, sends requests, and prints the results as JSON."""

import json
import sys
import uuid
from typing import Any

import django

SECRET = "cnry-correct-horse-battery"
NEW_SECRET = "cnry-staple-battery-horse"
SHORTENED_TO = 12
PATHS_WITH_NUL = ("/%00", "/api/v1/users/%00/", "/silk/request/%00/", "/schema/%00", "/schema/?x=%00")


def main() -> None:
    django.setup()
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    customer = Client(SERVER_NAME="localhost")
    statuses = []

    def post(path: str, body: dict[str, Any], **sent: Any) -> Any:
        sent = {"content_type": "application/json"} | sent
        answer = customer.post(path, body, **sent)
        statuses.append(answer.status_code)
        return answer.json() if answer.content else None

    login = {"username": f"ada-{uuid.uuid4().hex}", "password": SECRET}
    post("/api/v1/users/", login)
    token = post("/api/token/", login)["token"]
    # As a form, too: silk reads it by another way.
    customer.post("/api/token/", login)
    own = {"Authorization": f"Token {token}"}
    name = customer.get("/api/v1/users/me/", headers=own).json()["username"]
    passwords = {"current_password": SECRET, "new_password": NEW_SECRET}
    post("/api/v1/users/me/password/", passwords, headers=own)
    told = {
        "statuses": statuses,
        "known": name == login["username"],
        "page": customer.get("/silk/requests/").status_code,
    }
    stranger = Client(SERVER_NAME="localhost", raise_request_exception=False)
    told |= {"with a NUL": [stranger.get(path).status_code for path in PATHS_WITH_NUL]}
    told |= {"imported": "silk" in sys.modules, "secrets": [SECRET, NEW_SECRET, token]}
    if told["imported"]:
        told |= recorded(customer)
    print(json.dumps(told))


def recorded(customer: Any) -> dict[str, Any]:
    """Return what silk wrote down, and how many requests it keeps when they become more than it may."""
    from django.core import serializers
    from silk.config import SilkyConfig
    from silk.models import Request, Response, SQLQuery

    rows = serializers.serialize("json", [*Request.objects.all(), *Response.objects.all(), *SQLQuery.objects.all()])
    requests = {each.path: each.queries.count() for each in Request.objects.all()}
    statements = [each.query for each in SQLQuery.objects.all()]
    kept = SilkyConfig()
    limits = {name: kept.attrs[name] for name in kept.attrs if "_MAX_" in name}
    # It looks at one request in ten, and at the thousandth.
    kept.attrs |= {"SILKY_MAX_RECORDED_REQUESTS": SHORTENED_TO, "SILKY_MAX_RECORDED_REQUESTS_CHECK_PERCENT": 100}
    for _ in range(2 * SHORTENED_TO):
        customer.get("/nothing-here/")
    return {
        "rows": rows,
        "requests": requests,
        "statements": statements,
        "limits": limits,
        "kept": Request.objects.count(),
    }


if __name__ == "__main__":
    main()
