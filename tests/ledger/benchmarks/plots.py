"""Plots of the benchmark as SVG: python -m tests.ledger.benchmarks.plots <figures.json> <folder>.

Runs in the contenders' environment, which has matplotlib. The files hold no date and no random id: equal figures give equal
files.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

OURS, OTHERS, DATABASE = "#0b6e4f", "#8d99ae", "#d9a441"


def draw(cells: Sequence[dict[str, Any]], folder: Path) -> None:
    mpl.rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    usual = [cell for cell in cells if cell["connections"] == 8]
    workloads = list(dict.fromkeys(cell["workload"] for cell in usual))
    for name, title, drawer in (
        ("throughput", "Requests a second, 8 connections (95 % interval)", throughput),
        ("cpu", "CPU for a request in ms, 8 connections: Python (left) and PostgreSQL", cpu),
        ("latency", "Latency in ms, 8 connections: p50 to p99", latency),
    ):
        figure, axes = plt.subplots(len(workloads), 1, figsize=(8, 0.5 + 2.1 * len(workloads)), squeeze=False)
        figure.suptitle(title)
        for axis, workload in zip(axes[:, 0], workloads, strict=True):
            rows = [cell for cell in usual if cell["workload"] == workload]
            axis.set_title(workload, loc="left", fontsize=9)
            axis.invert_yaxis()
            axis.spines[["top", "right"]].set_visible(False)
            drawer(axis, rows)
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def names(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["contender"] for row in rows]


def colors(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [OURS if row["contender"] == "product" else OTHERS for row in rows]


def throughput(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    low, middle, high = zip(*(row["per_s"] for row in rows), strict=True)
    errors = [
        [m - one for m, one in zip(middle, low, strict=True)],
        [one - m for m, one in zip(middle, high, strict=True)],
    ]
    axis.barh(names(rows), middle, xerr=errors, color=colors(rows), error_kw={"lw": 1, "capsize": 2})


def cpu(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    python = [row["python_ms"] for row in rows]
    axis.barh(names(rows), python, color=colors(rows))
    axis.barh(names(rows), [row["postgres_ms"] for row in rows], left=python, color=DATABASE)


def latency(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    axis.hlines(
        names(rows), [row["p50_ms"] for row in rows], [row["p99_ms"] for row in rows], colors=colors(rows), lw=3
    )
    axis.plot([row["p50_ms"] for row in rows], names(rows), "o", color="black", ms=3)
    axis.set_xscale("log")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text())["cells"], Path(sys.argv[2]))
