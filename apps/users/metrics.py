"""What operators count at the door. Never whose name, and never from where."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter

from apps.core.observability.metrics import with_all_label_values
from apps.users.errors import InvalidCredentials, TooManyLoginFailures

LOGINS: Final = with_all_label_values(
    Counter("bank_logins_total", "Logins by how they ended.", ["outcome"]),
    outcome=("succeeded", "failed", "throttled"),
)
LOGIN_THROTTLED: Final = with_all_label_values(
    Counter(
        "bank_login_throttled_total",
        "Attempts at a password, at a login or its change, that a limit refused; one may have reached several limits.",
        ["limit"],
    ),
    limit=("username_and_address", "username", "address"),
)


@contextmanager
def counted_login() -> Iterator[None]:
    """Count how the login inside ends."""
    try:
        yield
    except InvalidCredentials:
        LOGINS.labels("failed").inc()
        raise
    except TooManyLoginFailures:
        LOGINS.labels("throttled").inc()
        raise
    LOGINS.labels("succeeded").inc()
