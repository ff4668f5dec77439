"""Benchmark of the bank beside other ways to build it: `make bench` (docs/ledger/benchmarks/README.md).

    make bench                                                     everything: about an hour
    make bench ARGS=--quick                                        a first look, in minutes, not written into docs/
    make bench ARGS="--workloads withdraw list --contenders product asyncpg"

All contenders run at once, on one PostgreSQL. Each round measures every workload, contender beside contender in a new order;
ratios are taken inside each round. Exit code: 0; 1 for any answer that is not 2xx, and for lost money.
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.ledger.benchmarks import environment, report
from tests.ledger.benchmarks.books import MoneyLostError
from tests.ledger.benchmarks.comparison import Bench, Plan
from tests.ledger.benchmarks.contenders import CONTENDERS
from tests.ledger.benchmarks.load import LoadError
from tests.ledger.benchmarks.workloads import WORKLOADS

QUICK = {"rounds": 3, "seconds": 1.0, "entries": 10_000, "starts": 1, "widely": []}
FULL = {"rounds": 9, "seconds": 2.0, "entries": 1_000_000, "starts": 5, "widely": ["withdraw", "hot", "list"]}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a first look: 3 rounds of 1 s, 10,000 entries, no files in docs/"
    )
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, metavar="NAME", help=f"of {', '.join(CONTENDERS)}"
    )
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--connections", nargs="+", type=int, default=[8], metavar="N", help="of every workload (8)")
    parser.add_argument(
        "--widely",
        nargs="*",
        choices=WORKLOADS,
        metavar="NAME",
        help=f"workloads that are measured with 1 and 32 connections too ({' '.join(FULL['widely'])})",
    )
    parser.add_argument("--rounds", type=int, help=f"{FULL['rounds']}, or {QUICK['rounds']} with --quick")
    parser.add_argument("--seconds", type=float, help="of a window: 2, or 1 with --quick")
    parser.add_argument("--entries", type=int, help="of the account whose entries are listed: 1,000,000, or 10,000")
    parser.add_argument("--accounts", type=int, default=1000, help="that money is withdrawn from: 1,000")
    parser.add_argument("--starts", type=int, help="of each contender, timed: 5, or 1 with --quick")
    parser.add_argument("--seed", type=int, help="of the orders and accounts; printed")
    parser.add_argument("--output", type=Path, help="folder of the table and the plots (docs/ledger/benchmarks)")
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    """Return what the options ask for."""
    usual = QUICK if options.quick else FULL
    chosen = {name: value if (value := getattr(options, name)) is not None else usual[name] for name in usual}
    return Plan(
        contenders=tuple(options.contenders or CONTENDERS),
        workloads=tuple(options.workloads or WORKLOADS),
        connections=tuple(options.connections),
        more_connections=(1, 32),
        accounts=options.accounts,
        seed=options.seed if options.seed is not None else random.SystemRandom().randrange(2**32),
        **chosen | {"widely": tuple(chosen["widely"])},
    )


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    plan = plan_of(options)
    python = Path(sys.executable)
    if any(CONTENDERS[name].own_libraries for name in plan.contenders):
        python = environment.build()
    facts = environment.facts(python, plan.seed)
    say(f"Seed {plan.seed}. {plan.windows} windows of {plan.seconds:g} s. Load: {facts['load average at the start']}")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        # PostgreSQL may run as another user.
        folder.chmod(0o755)
        (folder / "postgres").mkdir()
        try:
            with Bench(plan, folder, python, say) as bench:
                results = bench.compare()
        except (LoadError, MoneyLostError) as error:
            say(f"error: {error}")
            return 1
    facts |= environment.load_now()
    found = report.Report(plan, results, facts)
    print(found.markdown())
    if options.output or not options.quick:
        folder = found.write(options.output or report.FOLDER)
        environment.plot(found.figures_of_plots(), folder)
        say(f"Written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
