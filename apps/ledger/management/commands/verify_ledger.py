"""Recompute the books and say whether they are true."""

import json
import sys
import time
from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from apps.ledger.models import Account, Entry, Transaction
from apps.ledger.verification import INVARIANTS, Violation, check, snapshot

USAGE_ERROR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, and in how much."""

    findings: list[Violation]
    accounts: int
    transactions: int
    entries: int
    seconds: float

    @property
    def broken(self) -> list[Violation]:
        return [finding for finding in self.findings if finding.violations]


class Command(BaseCommand):
    """Check every invariant of the ledger in one read-only snapshot; nobody has to stop working."""

    help = (
        "Check that the books are true: eleven invariants, recomputed from the entries in one read-only snapshot. "
        "Exits with 0 if all hold, with 1 at a lie, giving the first and the worst example of each, with 2 if the question "
        "makes no sense."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", action="append", metavar="UUID", help="check only this one; may be repeated")
        parser.add_argument("--format", choices=["text", "json"], default="text", help="what to print (default: text)")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = options["account"]
        report = self._verify(None if asked is None else [_uuid(text) for text in asked])
        self.stdout.write(_as_json(report) if options["format"] == "json" else _as_text(report))
        if report.broken:
            raise CommandError(
                f"The books are not true: {len(report.broken)} of {len(INVARIANTS)} invariants are broken."
            )

    def _verify(self, accounts: list[UUID] | None) -> Report:
        start = time.monotonic()
        with snapshot():
            if accounts is not None:
                known = set(Account.objects.filter(pk__in=accounts).values_list("pk", flat=True))
                if unknown := [str(account) for account in accounts if account not in known]:
                    raise CommandError(f"There is no account {', '.join(unknown)}.", returncode=USAGE_ERROR)
            findings = []
            for finding in check(accounts):
                findings.append(finding)
                if sys.stderr.isatty():
                    self.stderr.write(f"{len(findings)}/{len(INVARIANTS)} {finding.invariant.sentence}")
            of_accounts = {} if accounts is None else {"account__in": accounts}
            return Report(
                findings=findings,
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
            "id": finding.invariant.id,
            "invariant": finding.invariant.sentence,
            "checked": not finding.is_skipped,
            "violations": finding.violations,
            "first": finding.first,
            "worst": finding.worst,
        }
        for finding in report.findings
    ]
    figures = {
        "ok": not report.broken,
        "accounts": report.accounts,
        "transactions": report.transactions,
        "entries": report.entries,
        "seconds": report.seconds,
    }
    return json.dumps(figures | {"invariants": invariants}, indent=2)


def _as_text(report: Report) -> str:
    lines = []
    for finding in report.findings:
        verdict = "skipped: it is about the whole ledger" if finding.is_skipped else "ok"
        if finding.violations:
            verdict = f"BROKEN, {finding.violations} times"
        lines.append(f"{finding.invariant.id:>4} {finding.invariant.sentence} {verdict}")
        for name, example in (("first", finding.first), ("worst", finding.worst)):
            if example is not None and (name == "first" or example != finding.first):
                lines.append(f"       {name}: {example['subject']}: {example['detail']}")
    lines.append(
        f"{report.accounts} accounts, {report.transactions} transactions, {report.entries} entries "
        f"in {report.seconds:.1f} s: {'a lie' if report.broken else 'all is true'}."
    )
    return "\n".join(lines)
