"""What the processes say: one line an event, all in one shape, as JSON where it is deployed and as text on a laptop.

Django's, gunicorn's and the libraries' lines pass the same formatter as ours. What customers sent stays out by
construction: of an error its type and its place are told (`apps.core.observability.redaction`), of a library's `extra`
nothing, of ours what its name does not forbid.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from apps.core.observability.redaction import FILTERED, exception_chain, is_secret, redact, safe_frames, safe_message

OURS: Final = ("apps.", "config.")
# What gunicorn says of a request, it says in the request's words: the line, the header or the URL that it met.
QUOTING: Final = ("Invalid request", "Error handling request", "Exception during worker exit")

LONGEST_TEXT: Final = 500
LONGEST_LINE: Final = 4000
"""A pipe takes 4,096 bytes at once (PIPE_BUF), so what several workers say never mixes within a line."""
COMMON: Final = ("timestamp", "level", "logger", "event", "request_id", "release", "environment")
NOT_EXTRA: Final = {*COMMON, "exception", "exc_info", "stack_info"}
DEPTH: Final = 4
ERRORS: Final = 4
FRAMES: Final = 12


def configuration(*, form: str, stream: str, release: str, environment: str) -> dict[str, Any]:
    """Return the logging configuration of a process: Django's `LOGGING` and gunicorn's `logconfig_dict`.

    form: json or text. stream: stdout or, where a command's lines must not mix with what it prints, stderr.
    """
    line = {"()": LineFormatter, "form": form, "release": release, "environment": environment}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "handlers": {"line": {"class": "logging.StreamHandler", "stream": f"ext://sys.{stream}", "formatter": "line"}},
        "root": {"handlers": ["line"], "level": "INFO"},
        "loggers": {
            # gunicorn would give it a handler of its own, and each line be said twice.
            "gunicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
            # Django would add handlers for debugging and for mails to administrators.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            # Refusals are answers, not incidents, and these quote the request; apps.core.problem logs what is our fault.
            "django.request": {"level": "CRITICAL"},
            "django.security": {"level": "CRITICAL"},
            # It tells where it found credentials and endpoints, each time.
            "botocore": {"level": "WARNING"},
        },
    }


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders anybody's record as one line."""

    def __init__(self, *, form: str, release: str, environment: str) -> None:
        self._process = {"release": release, "environment": environment}
        rendering: list[Processor] = [self._json] if form == "json" else [_text, _console]
        super().__init__(processors=[structlog.stdlib.ExtraAdder(), *rendering])

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        # logging itself would print the record, its arguments included, and the traceback.
        except Exception:  # noqa: BLE001
            kept = {name: getattr(record, name) for name in ("name", "levelname", "levelno", "created")}
            return super().format(logging.makeLogRecord(kept | {"msg": "A line that could not be formatted."}))

    def _json(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        common = _common(event) | self._process
        exception = [
            {"type": _name(error), "message": safe_message(error), "frames": safe_frames(error)[-FRAMES:]}
            for error in exception_chain(_error(event))[:ERRORS]
        ]
        line = json.dumps(common | _extra(event) | ({"exception": exception} if exception else {}))
        if len(line) <= LONGEST_LINE:
            return line
        shorter = [told | {"frames": told["frames"][-3:]} for told in exception[:2]]
        return json.dumps(common | {"cut": True} | ({"exception": shorter} if shorter else {}))


def _text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep a developer's traceback as Python prints it."""
    line = _common(event) | _extra(event)
    line["event"] = line["event"].replace("\r", "\\r").replace("\n", "\\n")
    return line | ({"exc_info": error} if (error := _error(event)) else {})


_console: Final = structlog.dev.ConsoleRenderer(
    colors=False, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
)


def _common(event: EventDict) -> dict[str, Any]:
    """Return what every line has."""
    record: logging.LogRecord = event["_record"]
    said = str(event["event"])
    if record.name == "gunicorn.error" and (quoting := [words for words in QUOTING if said.startswith(words)]):
        said = f"{quoting[0]}: {type(sys.exc_info()[1]).__name__}"
    return {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": redact(said)[:LONGEST_TEXT],
        "request_id": structlog.contextvars.get_contextvars().get("request_id", "-"),
    }


def _extra(event: EventDict) -> dict[str, Any]:
    """Return what our own code says beside the words. Libraries put requests, statements and parameters there."""
    if not event["_record"].name.startswith(OURS):
        return {}
    rest = {name: value for name, value in event.items() if name not in NOT_EXTRA and not name.startswith("_")}
    told: dict[str, Any] = _plain(rest)
    return told


def _plain(value: object, depth: int = DEPTH) -> Any:
    """Return a value as JSON has it: without what a name says is secret, and of objects only what they are."""
    match value:
        case None | bool() | int() | float():
            return value
        case str() | UUID() | Decimal() | date() | time() | timedelta():
            return redact(str(value))[:LONGEST_TEXT]
        case Mapping() if depth:
            return {
                str(name): FILTERED if is_secret(str(name)) else _plain(each, depth - 1) for name, each in value.items()
            }
        case list() | tuple() | set() | frozenset() if depth:
            return [_plain(each, depth - 1) for each in value]
        case _:
            return _name(value)


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _error(event: EventDict) -> BaseException | None:
    """Return the error that a line is about; structlog's own loggers leave it to us to look which."""
    match event.get("exc_info"):
        case BaseException() as error:
            return error
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None
