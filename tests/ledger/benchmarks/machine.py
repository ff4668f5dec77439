"""CPU time of process trees and of the whole machine, from /proc (Linux)."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """List a process and all that it started, directly or not, which live now."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                with suppress(OSError):
                    found += map(int, (task / "children").read_text().split())
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process tree, those that have ended and were waited for included."""
    ticks = 0
    for each in descendants(pid):
        with suppress(OSError):
            # The name in parentheses may hold anything. Then: state, ..., utime, stime, cutime, cstime.
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


class MachineTime(NamedTuple):
    """CPU time of all cores since boot."""

    busy_s: float
    stolen_s: float

    @classmethod
    def now(cls) -> "MachineTime":
        user, nice, system, _, _, irq, softirq, steal = map(
            int, Path("/proc/stat").read_text().split("\n", maxsplit=1)[0].split()[1:9]
        )
        return cls((user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S)


def memory_mib(pid: int) -> float:
    """Return the memory of a process tree, pages that several share counted in parts (PSS)."""
    kib = 0
    for each in descendants(pid):
        with suppress(OSError):
            found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{each}/smaps_rollup").read_text(), re.MULTILINE)
            kib += int(found[1]) if found else 0
    return kib / 1024
