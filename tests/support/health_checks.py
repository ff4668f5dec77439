"""ECS's two health checks as they are configured: the target group's in network.tf, the container's in web.json."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.paths import ROOT


@dataclass(frozen=True)
class Check:
    """A health check as AWS makes it: the target is unhealthy after so many failures in a row."""

    path: str
    interval_s: int
    timeout_s: int
    failures: int

    def replaces(self, answers: Callable[[float], bool], seconds: int) -> bool:
        """Ask every interval for some seconds; return whether the target has been found unhealthy."""
        failed = 0
        for moment in range(0, seconds, self.interval_s):
            failed = 0 if answers(moment) else failed + 1
            if failed == self.failures:
                return True
        return False


def target_group() -> Check:
    block = re.search(
        r"health_check \{(.*?)\n  \}", (ROOT / "deploy/ecs/terraform/environment/network.tf").read_text(), re.DOTALL
    )
    assert block is not None
    values = dict(re.findall(r"(\w+) += \"?([^\"\n]+?)\"?$", block[1], re.MULTILINE))
    return Check(values["path"], *(int(values[name]) for name in ("interval", "timeout", "unhealthy_threshold")))


def container() -> Check:
    check = json.loads((ROOT / "deploy/ecs/web.json").read_text())["containerDefinitions"][0]["healthCheck"]
    path = re.search(r"'(/\w+/)'", check["command"][-1])
    assert path is not None
    return Check(path[1], check["interval"], check["timeout"], check["retries"])
