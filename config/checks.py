"""What a deployment's settings must be beyond its keys: mistakes in the code, not in the environment."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from config.env import LIMITS_PER_MINUTE, ConfigurationError, Environment

ONE_PROCESS: Final = ("django.core.cache.backends.locmem.", "django.core.cache.backends.dummy.")
OUR_THROTTLE: Final = "apps.core.throttling.RequestThrottle"


def refuse_unsafe(settings: Mapping[str, Any], env: Environment) -> None:
    """End the process if what must be counted together would be counted apart, or browsers are not held to HTTPS."""
    problems = [*_counted_apart(settings, env)]
    if not settings.get("SECURE_HSTS_SECONDS"):
        problems.append("SECURE_HSTS_SECONDS must be above 0: browsers would go on asking over plain HTTP")
    if problems:
        raise ConfigurationError(env.DJANGO_SETTINGS_MODULE, problems)


def _counted_apart(settings: Mapping[str, Any], env: Environment) -> Iterator[str]:
    """Name what each process would count for itself.

    A limit of ten in four workers is a limit of forty, and a session that another worker made is a stranger's.
    """
    caches = settings.get("CACHES", {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
    shared = not caches["default"]["BACKEND"].startswith(ONE_PROCESS)
    if shared or env.WEB_CONCURRENCY * env.WEB_REPLICAS == 1:
        return
    rest = settings.get("REST_FRAMEWORK", {})
    others = {*rest.get("DEFAULT_THROTTLE_CLASSES", ())} - {OUR_THROTTLE}
    users = {
        "the limits per minute": any(settings.get(name) for name in LIMITS_PER_MINUTE),
        "REST_FRAMEWORK's throttles": others or rest.get("DEFAULT_THROTTLE_RATES"),
        "SESSION_ENGINE": "cache" in settings.get("SESSION_ENGINE", ""),
    }
    yield from (f"CACHES must be shared by all workers, because of {user}" for user, used in users.items() if used)
