"""Checks of a deployment's settings that no key decides, run when Django starts: mistakes in the code.

Raises: ConfigurationError.
"""

from collections.abc import Iterator
from typing import Any, Final

from config.env import ConfigurationError, Environment
from config.keys import LIMITS_PER_MINUTE

CACHES_OF_ONE_PROCESS: Final = ("django.core.cache.backends.locmem.", "django.core.cache.backends.dummy.")
OUR_THROTTLE: Final = "apps.core.throttling.RequestThrottle"


def check_deployment_settings(settings: Any, env: Environment) -> None:
    """Raise unless all workers share what they count, and browsers are held to HTTPS."""
    problems = [*_uses_of_an_unshared_cache(settings, env)]
    if not settings.SECURE_HSTS_SECONDS:
        problems.append("SECURE_HSTS_SECONDS must be above 0: browsers would go on with plain HTTP")
    if problems:
        raise ConfigurationError(env("DJANGO_SETTINGS_MODULE"), problems)


def _uses_of_an_unshared_cache(settings: Any, env: Environment) -> Iterator[str]:
    """Yield what each process would have for itself: a limit of ten in four workers is a limit of forty."""
    shared = not settings.CACHES["default"]["BACKEND"].startswith(CACHES_OF_ONE_PROCESS)
    if shared or env("WEB_CONCURRENCY") * env("WEB_REPLICAS") == 1:
        return
    rest = settings.REST_FRAMEWORK
    others = {*rest.get("DEFAULT_THROTTLE_CLASSES", ())} - {OUR_THROTTLE}
    users = {
        "the limits per minute": any(getattr(settings, name) for name in LIMITS_PER_MINUTE),
        "REST_FRAMEWORK's throttles": others or rest.get("DEFAULT_THROTTLE_RATES"),
        "SESSION_ENGINE": "cache" in settings.SESSION_ENGINE,
    }
    yield from (f"CACHES must be shared by all workers, because of {user}" for user, used in users.items() if used)
