"""Environment variables: the values of the keys that config/keys.py and each app's `environment.py` declare.

A value comes from the environment, else from the AWS secret that APP_SECRETS_ID names, else it is the default; an empty
value counts as absent. Casting and reading are django-environ's: `env("PORT")`, `env("DEBUG", default=True)`.

Raises: `load()` raises one `ConfigurationError` that names every missing, malformed and unsafe key, and no value.
"""

import logging
import os
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from environ import Env

from apps.core.configuration import DEPLOYED, Key, Rules
from config import keys, secrets_manager

# An image and the test suite do not depend on a secret.
ENVIRONMENTS_WITHOUT_SECRET: Final = frozenset({"base", "test"})

_found = Path(__file__).resolve().parent.parent.glob("apps/*/environment.py")
DECLARATIONS: Final = (keys, *(import_module(f"apps.{path.parent.name}.environment") for path in sorted(_found)))
KEYS: Final[Mapping[str, Key]] = {name: key for module in DECLARATIONS for name, key in module.KEYS.items()}
RULES: Final[Rules] = {names: rule for module in DECLARATIONS for names, rule in getattr(module, "RULES", {}).items()}

logger = logging.getLogger(__name__)


class ConfigurationError(ImproperlyConfigured):
    """The configuration is invalid. The text is for operators: entry points print it and exit with 1."""

    def __init__(self, settings_module: str, problems: Collection[str]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [
            f"error: {settings_module or 'the application'} cannot start: {count} with its configuration",
            *(f"  {problem}" for problem in sorted(problems)),
            "Every key is described in docs/configuration.md.",
        ]
        super().__init__("\n".join(lines))


class Environment(Env):  # type: ignore[misc]  # it ships no types
    """django-environ's `Env` on validated texts: `env("PORT")`, `env("DEBUG", default=True)`.

    sources: "environment", "secret" or "default" for each key.
    """

    def __init__(self, name: str, texts: Mapping[str, str], sources: Mapping[str, str]) -> None:
        super().__init__(**{key: (declared.type.cast, declared.default_in(name)) for key, declared in KEYS.items()})
        self.name = name
        self.sources = sources
        self.deployed = name in DEPLOYED
        # django-environ takes a text that begins with $ for another variable's name unless the $ is escaped.
        self.escape_proxy = True
        self.ENVIRON = {key: text.replace("$", r"\$") for key, text in texts.items()}

    @property
    def is_gunicorn(self) -> bool:
        """Whether this process is gunicorn's, and not a command."""
        return "SERVER_SOFTWARE" in os.environ


def deployment_warnings(env: Environment) -> list[str]:
    """Return what a deployment has probably forgotten, for the log of a server that starts."""
    found = []
    if env.deployed and not env("NUM_PROXIES"):
        found.append("NUM_PROXIES is 0: no header is trusted for HTTPS, so the API answers 403 https_required")
    if env.deployed and not env("REDIS_URL") and any(map(env, keys.LIMITS_PER_MINUTE)):
        found.append("REDIS_URL is not given: requests are not counted, so their rate is not limited")
    return found


def read(
    given: Mapping[str, str], fetch: Callable[[str, str], Mapping[str, str]] = secrets_manager.get_cached
) -> Environment:
    """Return the configuration that these variables give, or raise `ConfigurationError` with all problems."""
    module = given.get("DJANGO_SETTINGS_MODULE", "")
    name = module.rpartition(".")[2]
    name = name if name in keys.ENVIRONMENTS else "production"
    problems, texts, sources = {}, {}, {}
    secret: Mapping[str, str] = {}
    if given.get("APP_SECRETS_ID") and name not in ENVIRONMENTS_WITHOUT_SECRET:
        try:
            secret = fetch(given["APP_SECRETS_ID"], given.get("AWS_REGION", ""))
        except secrets_manager.SecretError as error:
            problems["APP_SECRETS_ID"] = str(error)

    for key, declared in KEYS.items():
        from_secret = "" if declared.environment_only else secret.get(key)
        text = given.get(key) or from_secret or ""
        sources[key] = "environment" if given.get(key) else "secret" if from_secret else "default"
        if problem := declared.problem(text, name):
            problems[key] = problem
        elif text:
            texts[key] = text

    env = Environment(name, texts, sources)
    found = [f"{key} {words}" for key, words in problems.items()]
    rules = {names: rule for names, rule in RULES.items() if problems.keys().isdisjoint(names)}
    found += [f"{', '.join(names)} {words}" for names, rule in rules.items() if (words := rule(env))]
    if found:
        found += [f"{key} is in the secret and no key that is read from it" for key in unknown_secret_names(secret)]
        raise ConfigurationError(module, found)
    return env


def unknown_secret_names(secret: Mapping[str, str]) -> list[str]:
    """Return the names in a secret that are not read: most often one is misspelt."""
    return sorted(name for name in secret if name not in KEYS or KEYS[name].environment_only)


def load() -> Environment:
    """Return this process's configuration, or raise `ConfigurationError`."""
    return read(os.environ)


def load_for_server() -> Environment:
    """As `load()`, for a server that starts or reloads: with a fresh secret, or with the old one if the new is invalid."""
    before = secrets_manager.cached_or_none()
    if before is None:
        return load()
    try:
        _refresh_secret()
        return load()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\nThe server goes on with the secret it has.\n")
        secrets_manager.set_cached(before)
        return load()


def reread_from_secret(key: str) -> str:
    """Return a key's present text in the secret; an empty one if it did not come from there or is invalid now."""
    if load().sources[key] != "secret":
        return ""
    text = _refresh_secret().get(key, "")
    if problem := KEYS[key].problem(text, environment=""):
        logger.warning("The secret was read again, and its %s %s.", key, problem)
        return ""
    return text


def _refresh_secret() -> Mapping[str, str]:
    return secrets_manager.refresh(os.environ["APP_SECRETS_ID"], os.environ.get("AWS_REGION", ""))


def set_environment_variable(name: str, value: str | None) -> None:
    """Set or, with None, delete a variable that a library reads, in this process and those that it starts."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
