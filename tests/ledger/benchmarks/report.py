"""Report of the benchmark: tables in Markdown, and the figures for the plots."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.ledger.benchmarks.comparison import Plan, Results
from tests.ledger.benchmarks.contenders import CONTENDERS
from tests.ledger.benchmarks.estimates import Interval, bootstrap, percentile, ratio
from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "ledger" / "benchmarks"
PRODUCT = "product"
# Beyond this part of the cores, other programs had a say in a window.
NOISE = 0.1


Cell = tuple[str, int, str]
"""A workload, the number of connections, and a contender."""


@dataclass(frozen=True)
class Wanted:
    """A ratio of two cells that the product is to reach: at least the bound, or at most."""

    sentence: str
    bound: float
    one: Cell
    other: Cell
    figure: str = "per_s"
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


def against(sentence: str, workload: str, contender: str, bound: float, **how: Any) -> Wanted:
    """Return a goal for the product beside a contender, with 8 connections."""
    return Wanted(sentence, bound, (workload, 8, PRODUCT), (workload, 8, contender), **how)


GOALS = (
    against("withdrawals to FastAPI + asyncpg", "withdraw", "asyncpg", 0.33),
    against("lists to FastAPI + asyncpg", "list", "asyncpg", 0.45),
    against("p99 of a withdrawal to FastAPI + asyncpg", "withdraw", "asyncpg", 3, figure="p99_ms", at_most=True),
    against("p99 of a list to FastAPI + asyncpg", "list", "asyncpg", 3, figure="p99_ms", at_most=True),
    against("withdrawals to FastAPI + SQLModel", "withdraw", "sqlmodel", 1),
    against("lists to FastAPI + SQLModel", "list", "sqlmodel", 1),
    against("withdrawals to django-ninja", "withdraw", "ninja", 1),
    against("lists to django-ninja", "list", "ninja", 1),
    against("withdrawals to the naive view on the same server", "withdraw", "naive", 1.6),
    against("withdrawals to the naive view under runserver", "withdraw", "tutorial", 3.5),
    Wanted("withdrawals from one account to those from 1,000", 0.9, ("hot", 8, PRODUCT), ("withdraw", 8, PRODUCT)),
    Wanted("transfers to withdrawals", 0.6, ("transfer", 8, PRODUCT), ("withdraw", 8, PRODUCT)),
    Wanted(
        "time of the deep page to the first", 1.1, ("deep", 8, PRODUCT), ("list", 8, PRODUCT), "p50_ms", at_most=True
    ),
    against(
        "PostgreSQL's CPU for a withdrawal to FastAPI + asyncpg",
        "withdraw",
        "asyncpg",
        2.2,
        figure="postgres_ms",
        at_most=True,
    ),
)


class Goal(NamedTuple):
    """A goal and the measured interval, whose worse end counts."""

    wanted: Wanted
    interval: Interval

    @property
    def holds(self) -> bool:
        wanted = self.wanted
        return self.interval.high <= wanted.bound if wanted.at_most else self.interval.low >= wanted.bound


@dataclass(frozen=True)
class Report:
    """The results of a plan, and the facts of the machine."""

    plan: Plan
    results: Results
    facts: Mapping[str, str]

    # --- Figures ---

    def figures(self, workload: str, connections: int, contender: str, figure: str) -> list[float]:
        """Return one figure of a contender, round by round."""
        return [
            getattr(window, figure)
            for window in self.results.windows
            if (window.workload, window.connections, window.contender) == (workload, connections, contender)
        ]

    def ratio(self, one: Cell, other: Cell, figure: str) -> Interval | None:
        """Return the ratio of a figure, taken in each round; None where one of both was not measured."""
        numerators, denominators = self.figures(*one, figure), self.figures(*other, figure)
        return ratio(numerators, denominators, self.plan.seed) if numerators and denominators else None

    def goals(self) -> list[Goal]:
        """Return the goals that were measured."""
        found = ((goal, self.ratio(goal.one, goal.other, goal.figure)) for goal in GOALS)
        return [Goal(goal, interval) for goal, interval in found if interval]

    # --- Markdown ---

    def markdown(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from ("# Results of the benchmark", "")
        yield "Written by `make bench`; [README.md](README.md) says how, and what the figures can't tell."
        yield from ("", *self._conditions(), "")
        yield from self._goals()
        for workload in self.plan.workloads:
            yield from self._workload(workload)
        yield from self._starts()
        yield from self._money()
        yield from self._contenders()

    def _conditions(self) -> Iterator[str]:
        windows = self.results.windows
        others = [window.others for window in windows]
        stolen = [window.stolen for window in windows]
        noisy = sum(part > NOISE for part in others)
        resent = sum(window.resent for window in windows)
        plan = self.plan
        usual, most = statistics.median(others), percentile(others, 0.95)
        yield f"{plan.rounds} rounds, windows of {plan.seconds:g} s in shuffled order, all contenders alive at once."
        yield f"Other programs took {usual:.0%} of the cores in the median window, {most:.0%} or less in 95 % of them, and"
        yield f"more than {NOISE:.0%} in {noisy} of {len(windows)}; the hypervisor withheld"
        yield f"{statistics.mean(stolen):.1%}. The client took {self._client_share()} of the CPU of a withdrawal."
        yield f"{resent} requests were sent again on a new connection."
        yield ""
        yield from table(["", ""], [[name, value] for name, value in self.facts.items()])

    def _client_share(self) -> str:
        shares = [
            window.client_ms / (window.client_ms + window.python_ms + window.postgres_ms)
            for window in self.results.windows
            if window.contender == PRODUCT and window.workload == "withdraw"
        ]
        return f"{statistics.median(shares):.0%}" if shares else "an unmeasured part"

    def _goals(self) -> Iterator[str]:
        goals = self.goals()
        if not goals:
            return
        yield from ("## Goals", "")
        yield "Ratios of the product's figures, 8 connections: the median of the rounds with its 95 % interval, whose worse"
        yield "end counts."
        yield ""
        rows = [
            [goal.wanted.sentence, str(goal.wanted), str(goal.interval), "yes" if goal.holds else "**no**"]
            for goal in goals
        ]
        yield from table(["ratio of", "goal", "measured", "reached"], rows)
        yield ""

    def _workload(self, workload: str) -> Iterator[str]:
        yield from (f"## {self.plan.title(workload)}", "")
        for connections in [count for name, count in self.plan.blocks() if name == workload]:
            yield from (f"**{connections} connection{'s' * (connections > 1)}**", "")
            rows = []
            for name in self.plan.takers(workload):
                key = (workload, connections, name)
                product = (workload, connections, PRODUCT)
                latencies = self.results.latencies_ms[key]
                speed = self.ratio(product, key, "per_s")
                tail = self.ratio(product, key, "p99_ms")
                rows.append(
                    [
                        CONTENDERS[name].title,
                        f"{statistics.median(self.figures(*key, 'per_s')):,.0f}",
                        "" if name == PRODUCT or speed is None else str(speed),
                        f"{percentile(latencies, 0.5):.1f}",
                        f"{percentile(latencies, 0.99):.1f}",
                        "" if name == PRODUCT or tail is None else str(tail),
                        self._cpu(key, "python_ms"),
                        self._cpu(key, "postgres_ms"),
                    ]
                )
            head = ["", "a second", "ours / it", "p50 ms", "p99 ms", "our p99 / its", "Python ms", "PostgreSQL ms"]
            yield from table(head, rows, right=range(1, len(head)))
            yield ""

    def _cpu(self, key: tuple[str, int, str], figure: str) -> str:
        return f"{statistics.median(self.figures(*key, figure)):.2f}"

    def _starts(self) -> Iterator[str]:
        if not self.results.starts:
            return
        yield from ("## A cold start", "")
        yield "From the start of the program to the first answer of `/livez/`; then the first withdrawal on a fresh server,"
        yield f"and a warm one. Medians of {self.plan.starts}, the worst in parentheses."
        yield ""

        def middle_and_worst(values: Sequence[float], places: int) -> str:
            return f"{statistics.median(values):.{places}f} ({max(values):.{places}f})"

        rows = []
        for name in [name for name in self.plan.contenders if name in self.results.starts]:
            starts = self.results.starts[name]
            figures: list[tuple[str, int]] = [("start_s", 2), ("first_ms", 0), ("warm_ms", 1)]
            cells = [middle_and_worst([start[figure] for start in starts], places) for figure, places in figures]
            rows.append([CONTENDERS[name].title, *cells])
        yield from table(["", "start s", "first withdrawal ms", "warm ms"], rows, right=range(1, 4))
        yield ""

    def _money(self) -> Iterator[str]:
        yield from ("## The money afterwards", "")
        yield "Every acknowledged request is recorded once. `verify_ledger` found nothing in the product's books; all"
        yield "balances are compared with what was acknowledged."
        yield ""
        rows = [
            [CONTENDERS[name].title, f"{audit.acknowledged:,}", f"{audit.lost:,}" if audit.missing else "0"]
            for name, audit in self.results.audits.items()
        ]
        yield from table(["", "movements acknowledged", "withdrawals whose money stayed"], rows, right=(1, 2))
        yield ""

    def _contenders(self) -> Iterator[str]:
        yield from ("## What each is, and does besides the work", "")
        contenders = [CONTENDERS[name] for name in self.plan.contenders]
        yield from table(["", "", "claims"], [[each.title, each.what, each.claims] for each in contenders])

    # --- Files ---

    def write(self, folder: Path) -> Path:
        """Write the tables, and the figures of the plots; return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.md").write_text(self.markdown())
        return folder

    def figures_of_plots(self) -> str:
        """Return the figures that the plots show, as JSON."""
        cells = []
        for workload, connections in self.plan.blocks():
            for name in self.plan.takers(workload):
                key = (workload, connections, name)
                latencies = self.results.latencies_ms[key]
                per_s = bootstrap(self.figures(*key, "per_s"), self.plan.seed)
                cells.append(
                    {
                        "workload": self.plan.title(workload),
                        "connections": connections,
                        "contender": name,
                        "per_s": per_s,
                        "p50_ms": percentile(latencies, 0.5),
                        "p99_ms": percentile(latencies, 0.99),
                        "python_ms": statistics.median(self.figures(*key, "python_ms")),
                        "postgres_ms": statistics.median(self.figures(*key, "postgres_ms")),
                    }
                )
        return json.dumps({"cells": cells, "windows": [asdict(window) for window in self.results.windows]})


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---:' if number in right else '---' for number in range(len(head)))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
