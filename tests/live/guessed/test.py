"""`config.settings.test` for a server whose password checks are counted, behind as many proxies as NUM_PROXIES counts."""

from config.settings.base import env
from config.settings.test import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.test import REST_FRAMEWORK

PASSWORD_HASHERS = ["tests.live.guessed.counting_hasher.CountingHasher"]
REST_FRAMEWORK = REST_FRAMEWORK | {"NUM_PROXIES": env("NUM_PROXIES")}
