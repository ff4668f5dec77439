"""psycopg connections that break when the server does not answer in time, or cannot serve.

`statement_timeout` runs on the server's clock, and libpq has no timeout for reading. A server that keeps its sockets open
and sends nothing (paused, frozen, its disk stuck, a network that swallows packets) would hold the calling thread for ever.

Note [psycopg upgrades]
Two things here are not in psycopg's manual. Look at both when psycopg or Django is upgraded.
- `Connection.wait()` takes `timeout` and raises `_WaitTimeout` (documented in its docstring alone, since psycopg 3.3). If it
  is renamed, importing this module fails. If `wait()` is no longer called for each statement,
  `tests/database/test_postgresql.py` fails: a statement that is not answered then runs to its end.
- Django 5.2 has no setting for the connection's class; it calls `self.Database.connect()`. `driver()` returns what takes the
  place of `Database`. If Django calls `psycopg.connect()` by another way, the same tests fail.

Note [Server cannot serve]
SQLSTATEs by which PostgreSQL reports its own state and not the statement's: 25006, it is read-only (a standby, an old
primary, a provider's limit for a full disk); 55000, not possible during recovery; class 53, no disk, memory or connection
left; class 58, a system error; 25P03 and 25P04, it has ended a session whose transaction took too long. Each is worth
another attempt on another connection, which a failover may lead elsewhere; the present connection would stay where it is.
So they are raised as OperationalError (psycopg has class 25 under InternalError), and the connection is closed. Errors of
class 57 have closed it already.
Not among them: 40001, 40P01, 55P03 and 57014, which are about other transactions and time; 0A000, which no server supports;
and XX001, corrupted data, which must be seen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

from apps.database.timeouts import RESPONSE_TIMEOUT_S

T = TypeVar("T")

SERVER_CANNOT_SERVE: Final = ("25006", "25P03", "25P04", "55000")
SERVER_CANNOT_SERVE_CLASSES: Final = ("53", "58")
READ_ONLY_PARAMETERS: Final = (b"default_transaction_read_only", b"in_hot_standby")

# See Note [psycopg upgrades].
WaitTimeout: Final = psycopg.errors._WaitTimeout  # noqa: SLF001  raised for whoever passes `timeout` to wait()


class ServerUnavailableError(psycopg.OperationalError):
    """The server cannot serve now, by a SQLSTATE that psycopg does not map to OperationalError; it keeps the SQLSTATE."""


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that breaks when the server does not answer within `response_timeout_s`, or cannot serve.

    response_timeout_s: None waits without limit.
    Raises: OperationalError, with the connection closed. See Note [Server cannot serve].
    """

    response_timeout_s: float | None = RESPONSE_TIMEOUT_S
    is_replica = False
    """Whether it is meant to read only: there a refused write is a bug, and not a state that another server lacks."""
    timed_out = False
    opened_at = 0.0
    planned_at = 0.0

    @property
    def only_reads(self) -> bool:
        """Whether the server's last response reports it as read-only. PostgreSQL 14 and later do; poolers do not."""
        return any(self.pgconn.parameter_status(name) == b"on" for name in READ_ONLY_PARAMETERS)

    @contextmanager
    def response_timeout(self, seconds: float | None) -> Iterator[None]:
        """Use another response timeout during the block; None waits without limit."""
        before, self.response_timeout_s = self.response_timeout_s, seconds
        try:
            yield
        finally:
            self.response_timeout_s = before

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        kwargs.setdefault("timeout", self.response_timeout_s)
        try:
            return super().wait(gen, *args, **kwargs)
        except WaitTimeout as error:
            self.timed_out = True
            # The answer may still come, and would be taken for the next statement's.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server did not answer within {kwargs['timeout']:g} s") from error
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if self.is_replica and state == psycopg.errors.ReadOnlySqlTransaction.sqlstate:
                raise
            if state not in SERVER_CANNOT_SERVE and not state.startswith(SERVER_CANNOT_SERVE_CLASSES):
                raise
            self.pgconn.finish()
            if isinstance(error, psycopg.OperationalError):
                raise
            unavailable = ServerUnavailableError(*error.args)
            unavailable.sqlstate = state
            raise unavailable from error


def driver() -> SimpleNamespace:
    """Return psycopg for Django's `Database`, with connections of this class. See Note [psycopg upgrades]."""
    return SimpleNamespace(**vars(psycopg) | {"connect": TimeoutConnection.connect})
