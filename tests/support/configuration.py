"""A complete configuration of a deployment, a way to read one with changes, and the problems of one."""

import pytest

from config.env import ConfigurationError, read

STRONG_KEY = "correct-horse-battery-staple-0123456789-abcdefghijklm"

FULL = {
    "DJANGO_SETTINGS_MODULE": "config.settings.production",
    "SECRET_KEY": STRONG_KEY,
    "ALLOWED_HOSTS": "app.example.org",
    "DATABASE_URL": "postgres://app:secret@db.example.org:5432/app?sslmode=verify-full",
}

# In no message: an error must not contain it.
CANARY = "cnry"


def configure(settings: str = "production", secret=None, **given):
    def fetch(secret_id, region):
        assert secret is not None, "AWS must not be called"
        return secret

    return read({"DJANGO_SETTINGS_MODULE": f"config.settings.{settings}"} | given, fetch)


def problems(*args, **given) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        configure(*args, **given)
    told = str(refusal.value)
    assert CANARY not in told
    return [line.strip() for line in told.splitlines() if line.startswith("  ")]
