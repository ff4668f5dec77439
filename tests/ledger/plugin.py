"""The ledger's pytest plugin: the gate is off, whatever `.env` has; its own tests turn it on."""

import pytest
from django.conf import settings


def pytest_configure(config: pytest.Config) -> None:
    settings.LEDGER_GATE = "off"
