"""Check of the tests' code: no test of `make test` or `make test-slow` compares a measured time."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.patience import HANG_S

HERE = Path(__file__).parent
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time"}
TIMES = ("elapsed", "took", "slowest", "recover")
WAITS = {"timeout", "timeout_s", "within_s", "patience_s"}
SHORTEST_S = HANG_S / 2
# What is short on purpose, and red only if something is there that must not be.
MEANT = {
    "live/test_drain.py": "timeout_s=0.5",  # nobody answers any more
    "live/test_proxy.py": "within_s=2",  # nobody is served
    "support/tcp_relay.py": "timeout=5",  # join(), whose end nobody looks at
    "support/lossy_proxy.py": "timeout=5",  # as above
    "devtools/test_native.py": "within_s=5",  # then it is killed, and that is fine
    "core/test_throttling.py": "timeout_s=0.25",  # of a Redis that hangs
}
# What a measured time may be compared with: `at_most` is a figure that `make test-long` holds the product to, else HANG_S.
PATIENT = ("HANG_S", ".at_most(")


def files() -> list[Path]:
    aside = {HERE / "benchmarks", HERE / "mutants"}
    return [path for path in sorted(HERE.rglob("*.py")) if not aside & set(path.parents)]


def reads_a_clock(node: ast.AST) -> bool:
    return any(
        isinstance(each, ast.Call) and ast.unparse(each.func).rsplit(".")[-1] in CLOCKS for each in ast.walk(node)
    )


def is_short(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value < SHORTEST_S


def is_patient(node: ast.AST) -> bool:
    return any(word in ast.unparse(node) for word in PATIENT)


def times(node: ast.AST) -> bool:
    """Return whether an expression is a measured time: a difference of clocks, or a name like one."""
    return any(
        (isinstance(each, ast.BinOp) and isinstance(each.op, ast.Sub) and reads_a_clock(each))
        or (isinstance(each, ast.Name | ast.Attribute) and any(word in ast.unparse(each) for word in TIMES))
        for each in ast.walk(node)
    )


def found(tree: ast.AST) -> Iterator[str]:
    """Yield each place where a time of less than half a minute would decide."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (
                f"{keyword.arg}={ast.unparse(keyword.value)}"
                for keyword in node.keywords
                if keyword.arg in WAITS and is_short(keyword.value)
            )
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and is_short(node.right):
            if reads_a_clock(node.left):
                yield ast.unparse(node)
        elif isinstance(node, ast.Assert):
            yield from (
                ast.unparse(each)
                for each in ast.walk(node.test)
                if isinstance(each, ast.Compare)
                for left, sign, right in zip([each.left, *each.comparators], each.ops, each.comparators, strict=False)
                if (isinstance(sign, ast.Lt | ast.LtE) and times(left) and not is_patient(right))
                or (isinstance(sign, ast.Gt | ast.GtE) and times(right) and not is_patient(left))
            )


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(HERE)))
def test_no_time_of_the_machines_decides(path):
    name = str(path.relative_to(HERE))
    assert [each for each in found(ast.parse(path.read_text())) if each != MEANT.get(name)] == []


@pytest.mark.parametrize(
    "code",
    [
        "assert time.monotonic() - start < 3",
        "assert 1 <= elapsed < 5",
        "assert answer.elapsed_s <= SOON_S",
        "assert 0.6 > took_s",
        "assert max(slowest) < 2",
        "deadline = time.monotonic() + 5",
        "process.wait(timeout=5)",
        "Client(address, timeout_s=3)",
    ],
)
def test_each_of_these_would_be_seen(code):
    assert len(list(found(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    ["assert elapsed >= 6", "assert time.monotonic() - start < HANG_S", "process.wait(timeout=60)", "assert a < 3"],
)
def test_and_these_are_fine(code):
    assert list(found(ast.parse(code))) == []
