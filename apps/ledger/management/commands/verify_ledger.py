"""`manage.py verify_ledger`: recompute the books and print OK or FAILED."""

import json
import sys
import time
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from apps.ledger.invariants import INVARIANTS
from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.verification import InvariantResult, check, snapshot

USAGE_ERROR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results for all invariants, and the number of rows checked."""

    results: list[InvariantResult]
    accounts: int
    transactions: int
    entries: int
    seconds: float

    @property
    def violated(self) -> list[InvariantResult]:
        return [result for result in self.results if result.violations]


class Command(BaseCommand):
    """Check every invariant of the ledger in one read-only snapshot, while the application runs."""

    help = (
        "Verify the books: eleven invariants, recomputed from the entries in one read-only snapshot. Exits with 0 if all "
        "hold; with 1 if one is violated, printing its first and its worst violation; with 2 if an account does not exist."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--account", action="append", metavar="UUID", help="check only this account; may be repeated"
        )
        parser.add_argument("--format", choices=["text", "json"], default="text", help="output format (default: text)")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = options["account"]
        report = self._verify(None if accounts is None else [_uuid(text) for text in accounts])
        self.stdout.write(_as_json(report) if options["format"] == "json" else _as_text(report))
        if report.violated:
            raise CommandError(
                f"The books do not balance: {len(report.violated)} of {len(INVARIANTS)} invariants are violated."
            )

    def _verify(self, accounts: list[UUID] | None) -> Report:
        start = time.monotonic()
        with snapshot():
            if accounts is not None:
                known = set(Account.objects.filter(pk__in=accounts).values_list("pk", flat=True))
                if unknown := [str(account) for account in accounts if account not in known]:
                    raise CommandError(f"There is no account {', '.join(unknown)}.", returncode=USAGE_ERROR)
            results = []
            for result in check(accounts):
                results.append(result)
                if sys.stderr.isatty():
                    self.stderr.write(f"{len(results)}/{len(INVARIANTS)} {result.invariant.sentence}")
            of_accounts = {} if accounts is None else {"account__in": accounts}
            return Report(
                results=results,
                accounts=Account.objects.count() if accounts is None else len(known),
                transactions=Transaction.objects.filter(**of_accounts).count(),
                entries=Entry.objects.filter(**of_accounts).count(),
                seconds=round(time.monotonic() - start, 3),
            )


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"{text!r} is not an account's id.", returncode=USAGE_ERROR) from None


def _as_json(report: Report) -> str:
    invariants = [
        {
            "id": result.invariant.id,
            "invariant": result.invariant.sentence,
            "checked": not result.is_skipped,
            "violations": result.violations,
            "first": result.first,
            "worst": result.worst,
        }
        for result in report.results
    ]
    figures = {
        "ok": not report.violated,
        "accounts": report.accounts,
        "transactions": report.transactions,
        "entries": report.entries,
        "seconds": report.seconds,
    }
    return json.dumps(figures | {"invariants": invariants}, indent=2)


def _as_text(report: Report) -> str:
    lines = []
    for result in report.results:
        verdict = "skipped: it holds for the whole ledger only" if result.is_skipped else "OK"
        if result.violations:
            verdict = f"FAILED, {result.violations} violations"
        lines.append(f"{result.invariant.id:>4} {result.invariant.sentence} {verdict}")
        for name, example in (("first", result.first), ("worst", result.worst)):
            if example is not None and (name == "first" or example != result.first):
                lines.append(f"       {name}: {example['subject']}: {example['detail']}")
    verdict = (
        f"FAILED, {len(report.violated)} of {len(INVARIANTS)} invariants are violated" if report.violated else "OK"
    )
    lines.append(
        f"{report.accounts} accounts, {report.transactions} transactions, {report.entries} entries "
        f"in {report.seconds:.1f} s: {verdict}"
    )
    return "\n".join(lines)
