"""Checks of a deployment's settings that no key decides."""

import pytest
from django.conf import UserSettingsHolder, settings

from config.checks import check_deployment_settings
from config.env import ConfigurationError
from config.keys import LIMITS_PER_MINUTE
from config.settings import base
from tests.support.configuration import FULL, configure

THROTTLED = {"REST_FRAMEWORK": {"DEFAULT_THROTTLE_RATES": {"anon": "60/min"}}}
LIMITED = {"THROTTLE_USER_PER_MINUTE": 600}
SHARED = {"CACHES": {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"}}}
SESSIONS = {"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}
# Where no Redis is given; Docker's tests have one.
PRIVATE = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
BASE = {name: value for name, value in vars(base).items() if name.isupper()}
BASE |= dict.fromkeys(LIMITS_PER_MINUTE, 0) | {"CACHES": PRIVATE}


def refusals(changed, **given) -> list[str]:
    """Return the problems of the base settings with some changed."""
    checked = UserSettingsHolder(settings)
    for name, value in (BASE | changed).items():
        setattr(checked, name, value)
    try:
        check_deployment_settings(checked, configure(**FULL | given))
    except ConfigurationError as refusal:
        return [line.strip() for line in str(refusal).splitlines()[1:-1]]
    return []


@pytest.mark.parametrize(
    ("changed", "workers", "replicas", "users"),
    [
        (THROTTLED, "2", "1", ["REST_FRAMEWORK's throttles"]),
        (THROTTLED, "1", "2", ["REST_FRAMEWORK's throttles"]),
        (LIMITED, "2", "1", ["the limits per minute"]),
        (SESSIONS, "2", "1", ["SESSION_ENGINE"]),
        (THROTTLED, "1", "1", []),
        (THROTTLED | LIMITED | SHARED, "2", "2", []),
        ({}, "2", "2", []),
    ],
)
def test_counters_and_sessions_that_several_workers_share_must_not_be_each_workers_own(
    changed, workers, replicas, users
):
    told = [f"CACHES must be shared by all workers, because of {user}" for user in users]
    assert refusals(changed, WEB_CONCURRENCY=workers, WEB_REPLICAS=replicas) == told


def test_a_deployment_that_does_not_hold_browsers_to_https_is_refused():
    assert refusals({"SECURE_HSTS_SECONDS": 0} | SESSIONS) == [
        "CACHES must be shared by all workers, because of SESSION_ENGINE",
        "SECURE_HSTS_SECONDS must be above 0: browsers would go on with plain HTTP",
    ]
