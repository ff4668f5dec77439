"""Rolling restarts: instances are replaced one after the other under load, and no request fails."""

import itertools
import time
from collections.abc import Iterator
from typing import Self

import pytest

from tests.support.client import Address, Client, NoAnswer, Request
from tests.support.databases import database_url
from tests.support.nginx import Nginx, find_nginx
from tests.support.patience import HANG_S
from tests.support.server import Instance
from tests.support.visitors import Visitors

pytestmark = pytest.mark.slow

# The interval of a platform's /readyz/ probes here. Kubernetes and load balancers have seconds, and drain for longer.
PROBE_EVERY_S = 0.2
# How long an instance drains where it is deployed.
DRAIN_S = 5


class Platform:
    """Two instances behind the shipped nginx, run as an orchestrator runs them.

    It starts an instance, sends it traffic from its first 200 of /readyz/ until its first 503, and stops it by a SIGTERM,
    of which the proxy has no notice: only the probe, sent every `PROBE_EVERY_S`, takes an instance out of the balance.
    That is what an ingress controller or a load balancer with health checks does; ECS even takes a task out first. The
    nginx that anybody can have does not probe by itself, so the platform writes its list of instances and reloads it.
    """

    def __init__(self, folder, *, drain_s: float) -> None:
        self._folder, self._drain_s = folder, drain_s
        self._numbers = itertools.count()
        self._instances: list[Instance] = []
        self.exit_codes: list[int] = []

    def __enter__(self) -> Self:
        self._instances = [self._launch(), self._launch()]
        for instance in self._instances:
            instance.wait_until_it_answers("/readyz/")
        self.nginx = Nginx(self._folder, [instance.address for instance in self._instances])
        self.nginx.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.nginx.__exit__()
        for instance in self._instances:
            instance.__exit__()

    def _launch(self) -> Instance:
        log = self._folder / f"gunicorn-{next(self._numbers)}.log"
        instance = Instance(database_url(), log, workers=2, threads=4, DRAIN_SECONDS=f"{self._drain_s:.0f}")
        instance.launch()
        return instance

    def restart(self) -> None:
        """Replace the older instance by a new one."""
        old, new = self._instances[0], self._launch()
        new.wait_until_it_answers("/readyz/")
        self._instances = [self._instances[1], old, new]
        self._balance(self._instances)

        old.terminate()
        while is_ready(old.address):
            time.sleep(PROBE_EVERY_S)
        # Had the drain been over, the probe would have found no server, and clients too.
        self._instances.remove(old)
        self._balance(self._instances)
        if self._drain_s > DRAIN_S:
            # No client comes any more: so no test has to wait, and none depends on how long all this took.
            old.terminate()

        self.exit_codes.append(old.exit_code())
        old.__exit__()
        assert old.complaints() == []

    def _balance(self, instances: list[Instance]) -> None:
        self.nginx.balance([instance.address for instance in instances])


def is_ready(address: Address) -> bool:
    try:
        with Client(address, token=None) as probe:
            return probe.send(Request("GET", "/readyz/")).status == 200
    except NoAnswer:
        return False


@pytest.fixture
def platform(request, transactional_db, tmp_path) -> Iterator[Platform]:
    """A platform whose instances drain for as many seconds as the test names."""
    find_nginx()
    with Platform(tmp_path, drain_s=request.param) as platform:
        yield platform


@pytest.mark.parametrize(
    ("platform", "restarts", "requests"),
    [(2 * HANG_S, 1, 200), pytest.param(DRAIN_S, 20, 20_000, marks=pytest.mark.long)],
    indirect=["platform"],
    ids=["quick", "long"],
)
def test_no_request_fails(platform, restarts, requests, seed):
    """A rolling restart replaces both instances."""
    visitors = Visitors(platform.nginx.address, seed)
    with visitors.visiting():
        for _ in range(2 * restarts):
            platform.restart()
        while visitors.requests < requests:
            time.sleep(0.1)

    print(f"{visitors.requests} requests during {restarts} rolling restarts: {dict(visitors.answers)}")
    assert set(visitors.answers) == {200, 201}
    assert platform.exit_codes == [0] * 2 * restarts
