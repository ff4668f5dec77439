"""What a deployment's settings must be beyond its keys: mistakes in the code, not in the environment."""

from collections.abc import Mapping
from typing import Any, Final

from config.environment import ConfigurationError, Environment

ONE_PROCESS: Final = ("django.core.cache.backends.locmem.", "django.core.cache.backends.dummy.")


def refuse_unsafe(settings: Mapping[str, Any], env: Environment) -> None:
    """End the process if what must be counted together would be counted by each worker for itself.

    A limit of ten in four workers is a limit of forty, and a session that another worker made is a stranger's.
    """
    caches = settings.get("CACHES", {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
    shared = not caches["default"]["BACKEND"].startswith(ONE_PROCESS)
    if shared or env.WEB_CONCURRENCY == 1:
        return
    rest = settings.get("REST_FRAMEWORK", {})
    users = {
        "REST_FRAMEWORK's throttles": rest.get("DEFAULT_THROTTLE_CLASSES") or rest.get("DEFAULT_THROTTLE_RATES"),
        "SESSION_ENGINE": "cache" in settings.get("SESSION_ENGINE", ""),
    }
    problems = [f"CACHES must be shared by all workers, because of {user}" for user, used in users.items() if used]
    if problems:
        raise ConfigurationError(env.DJANGO_SETTINGS_MODULE, problems)
