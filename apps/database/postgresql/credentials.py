"""Rotated database passwords: read the credentials again when the server refuses a password.

Open connections outlive a rotation; the next one to be opened is refused. A process that read its password only while it
started would then fail until it is restarted.

`settings.DATABASE_CREDENTIALS_HOOK` is the dotted path of a function `hook(key: str) -> str`. It gets the entry's `URL_KEY`
("DATABASE_URL") and returns the present URL, or "" if it has none. Without the setting, nothing is read again. The hook
limits how often it asks its source: it is called for each connection that is refused.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from django.conf import settings
from django.utils.module_loading import import_string

from apps.database import libpq

logger = logging.getLogger(__name__)


def password_was_sent(error: psycopg.OperationalError) -> bool:
    """Return whether a connection failed after the server had requested a password.

    A connection that fails carries no SQLSTATE, and its text is in the server's language, or a pooler's words. But libpq
    records whether it sent a password. The few other failures at that stage (no such database, too many connections) cost
    two readings of the secret a second, and end in the same error because nothing new is there.
    """
    return error.pgconn is not None and error.pgconn.used_password


def fresh_credentials(entry: dict[str, Any], tried: Mapping[str, Any]) -> dict[str, str] | None:
    """Return a user and a password other than those that were tried, or None; the `DATABASES` entry keeps them.

    Host and database name stay: a move is a deployment.
    """
    refused = {"USER": tried.get("user", ""), "PASSWORD": tried.get("password", "")}
    # All threads share the entry: another thread may have updated it meanwhile, and may until the end of this function.
    fresh = {name: entry[name] for name in refused}
    if fresh == refused:
        hook = _hook()
        url = hook(entry["URL_KEY"]) if hook else ""
        if not url:
            return None
        found = libpq.parameters(url)
        fresh = {name: found.get(name.lower(), "") for name in refused}
        if fresh == refused:
            return None
        if entry["PASSWORD"] != fresh["PASSWORD"]:
            logger.info("The database password was read again after a rotation")
        entry |= fresh
    return {"user": fresh["USER"], "password": fresh["PASSWORD"]}


def _hook() -> Callable[[str], str] | None:
    path = getattr(settings, "DATABASE_CREDENTIALS_HOOK", "")
    return import_string(path) if path else None
