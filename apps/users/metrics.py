"""Login metrics. Labels never contain user names or addresses."""

from typing import Final

from prometheus_client import Counter

from apps.core.observability.metrics import with_all_label_values

LOGINS: Final = with_all_label_values(
    Counter("app_logins_total", "Logins by outcome.", ["outcome"]),
    outcome=("succeeded", "failed", "throttled"),
)
LOGIN_THROTTLED: Final = with_all_label_values(
    Counter(
        "app_login_throttled_total",
        "Password checks, at a login or a password change, that a failure limit refused; one may exceed several limits.",
        ["limit"],
    ),
    limit=("username_and_address", "username", "address"),
)
