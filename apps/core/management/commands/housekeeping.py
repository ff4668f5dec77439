"""`manage.py housekeeping`, for a daily schedule: run the registered tasks and, with --verify, the checks."""

import logging
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final

from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from apps.core import housekeeping
from apps.core.housekeeping import AlreadyRunning
from apps.core.models import HousekeepingRun
from apps.core.observability.redaction import safe_message

logger = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """Exit codes of the command; 2 is argparse's, for unknown arguments."""

    DONE = 0
    FAILED = 1
    LOCKED = 3
    VERIFICATION_FAILED = 4


OUTCOMES: Final = {
    ExitCode.DONE: (logging.INFO, "Housekeeping done"),
    ExitCode.FAILED: (logging.ERROR, "Housekeeping failed"),
    ExitCode.LOCKED: (logging.WARNING, "Housekeeping not started: another one is running"),
    ExitCode.VERIFICATION_FAILED: (logging.CRITICAL, "Verification failed"),
}


class Command(BaseCommand):
    """Run every registered task, one process at a time; a task that fails does not stop the others.

    It needs the rights of the serving role only, and logs one line.
    """

    help = (
        "Delete expired rows: tokens, finished counts of failed logins, sessions, and those of other tasks that the apps"
        " register. Run it once a day. Exits with 0 when all is done, with 1 if a task failed, with 3 if another"
        " housekeeping is running, with 4 if --verify found something wrong."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--verify", action="store_true", help="then run the checks that the apps register")

    def handle(self, *args: Any, **options: Any) -> None:
        start = time.monotonic()
        report: dict[str, Any] = {}
        errors: list[Exception] = []
        try:
            with housekeeping.exclusive():
                code = _work(report, errors, verify=options["verify"])
        except AlreadyRunning:
            code = ExitCode.LOCKED
        # A schedule reads the code and the one line, whatever happened.
        except Exception as error:  # noqa: BLE001
            code = ExitCode.FAILED
            errors.append(error)
        level, words = OUTCOMES[code]
        seconds = round(time.monotonic() - start, 3)
        logger.log(level, words, extra=report | {"duration_s": seconds}, exc_info=next(iter(errors), None))
        if code:
            sys.exit(code)


def _work(report: dict[str, Any], errors: list[Exception], *, verify: bool) -> ExitCode:
    deleted = _each(housekeeping.tasks, report.setdefault("tasks", []), errors, "deleted")
    ended = {HousekeepingRun.Part.CLEANUP: len(deleted) == len(housekeeping.tasks)}
    is_wrong = False
    if verify and housekeeping.checks:
        found = _each(housekeeping.checks, report.setdefault("checks", []), errors, "findings")
        is_wrong = any(found.values())
        # A check that could not run has found nothing, neither good nor bad.
        if is_wrong or len(found) == len(housekeeping.checks):
            ended[HousekeepingRun.Part.VERIFICATION] = not is_wrong
    try:
        connection.close_if_unusable_or_obsolete()
        for part, succeeded in ended.items():
            housekeeping.record(part, succeeded=succeeded)
    except DatabaseError as error:
        errors.append(error)
    if is_wrong:
        return ExitCode.VERIFICATION_FAILED
    return ExitCode.FAILED if errors else ExitCode.DONE


def _each(
    functions: Mapping[str, Callable[[], Any]], report: list[dict[str, Any]], errors: list[Exception], result: str
) -> dict[str, Any]:
    """Run all of them and return what those returned that did not fail."""
    returned = {}
    for name, function in functions.items():
        try:
            # The one before may have lost it.
            connection.close_if_unusable_or_obsolete()
            returned[name] = function()
            report.append({"name": name, result: returned[name]})
        except Exception as error:  # noqa: BLE001  logged below, with the others
            errors.append(error)
            report.append({"name": name, "error": f"{type(error).__name__} {safe_message(error)}".rstrip()})
    return returned
