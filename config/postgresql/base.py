"""apps.database.postgresql, for a role whose password is rotated while the application runs.

Connections that are open outlive a rotation; the next one to be opened is refused. A process that had read its password
at boot would then fail until somebody restarts it.
"""

import logging
from typing import Any

import psycopg

from apps.database import libpq
from apps.database.postgresql import base
from config import env as environment

logger = logging.getLogger(__name__)


class DatabaseWrapper(base.DatabaseWrapper):
    """When the server refuses a password that came from the secret, read the secret once and try once more."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> base.TimeoutConnection:
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            if not password_was_sent(error):
                raise
            fresh = self._fresh_credentials(conn_params)
            if fresh is None:
                raise
        return super().get_new_connection(conn_params | fresh)

    def _fresh_credentials(self, tried: dict[str, Any]) -> dict[str, str] | None:
        """Return a user and a password other than those that were tried, if anybody knows of any."""
        refused = {"USER": tried.get("user", ""), "PASSWORD": tried.get("password", "")}
        # One dictionary for all threads: another may have been here meanwhile, and may be until the end of this.
        known = self.settings_dict
        fresh = {key: known[key] for key in refused}
        if fresh == refused:
            url = environment.rotated(known["URL_KEY"])
            if not url:
                return None
            found = libpq.parameters(url)
            fresh = {key: found.get(key.lower(), "") for key in refused}
            if fresh == refused:
                return None
            if known["PASSWORD"] != fresh["PASSWORD"]:
                logger.info("The database's password was read again: it had been rotated.")
            # Host and name stay: a move is a deployment.
            known |= fresh
        return {"user": fresh["USER"], "password": fresh["PASSWORD"]}


def password_was_sent(error: psycopg.OperationalError) -> bool:
    """Tell whether a connection failed after the server had asked for a password.

    A connection that fails carries no SQLSTATE, and its text is in the server's language, or a pooler's words. What
    libpq does know is whether it sent a password. The few other reasons at that stage (no such database, too many
    connections) cost two readings of the secret a second, and end in the same error because nothing new is there.
    """
    return error.pgconn is not None and error.pgconn.used_password
