from collections.abc import Iterator

import pytest

from config import secrets
from tests.config.aws import Moto


@pytest.fixture(scope="session")
def moto(tmp_path_factory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto") / "log") as moto:
        yield moto


@pytest.fixture
def _no_secret_held():
    """A process that has not asked for its secret yet, before and after."""
    secrets.hold(None)
    yield
    secrets.hold(None)
