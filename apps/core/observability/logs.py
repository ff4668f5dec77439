"""Logging configuration: one line per event in one shape, JSON in deployments, text locally.

Lines of Django, gunicorn and libraries pass the same formatter as our own. Customer data stays out by construction: an
error is logged by its type and place (`apps.core.observability.redaction`), a library's `extra` is dropped, and of ours
every value whose name looks like a secret's.
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

OWN_LOGGERS: Final = ("apps.", "config.")
# gunicorn's messages that quote the request line, a header or the URL.
MESSAGES_THAT_QUOTE_REQUESTS: Final = ("Invalid request", "Error handling request", "Exception during worker exit")

MAX_TEXT_LENGTH: Final = 500
MAX_LINE_LENGTH: Final = 4000
"""A pipe takes 4,096 bytes at once (PIPE_BUF), so lines of several workers never mix."""
COMMON_FIELDS: Final = ("timestamp", "level", "logger", "event", "request_id", "release", "environment")
NOT_EXTRA: Final = {*COMMON_FIELDS, "exception", "exc_info", "stack_info"}
MAX_DEPTH: Final = 4
MAX_EXCEPTIONS: Final = 4
MAX_FRAMES: Final = 12


def configuration(*, log_format: str, stream: str, release: str, environment: str) -> dict[str, Any]:
    """Return the logging configuration of a process: Django's `LOGGING` and gunicorn's `logconfig_dict`.

    log_format: json or text. stream: stdout or, for a command, whose log must not mix with its output, stderr.
    """
    line = {"()": LineFormatter, "log_format": log_format, "release": release, "environment": environment}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "handlers": {"line": {"class": "logging.StreamHandler", "stream": f"ext://sys.{stream}", "formatter": "line"}},
        "root": {"handlers": ["line"], "level": "INFO"},
        "loggers": {
            # gunicorn would add a handler of its own, and log each line twice.
            "gunicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
            # Django would add handlers for debugging and for mails to administrators.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            # 4xx responses are no incidents, and these loggers quote the request; apps.core.problem logs our own errors.
            "django.request": {"level": "CRITICAL"},
            "django.security": {"level": "CRITICAL"},
            # It logs where it found credentials and endpoints, each time.
            "botocore": {"level": "WARNING"},
        },
    }


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Render a record of any logger as one line."""

    def __init__(self, *, log_format: str, release: str, environment: str) -> None:
        self._process = {"release": release, "environment": environment}
        self._is_json = log_format == "json"
        rendering: list[Processor] = [self._json] if self._is_json else [_text, _console]
        super().__init__(processors=[_add_extra, *rendering])

    def format(self, record: logging.LogRecord) -> str:
        try:
            # A dictionary is a structlog logger's. For all others, the request's line too, the chain would end where this
            # begins, and takes longer than the rest.
            if self._is_json and not isinstance(record.msg, dict):
                return self._json(None, "", _event(record))
            return super().format(record)
        # logging itself would print the record, its arguments included, and the traceback.
        except Exception:  # noqa: BLE001
            kept = {name: getattr(record, name) for name in ("name", "levelname", "levelno", "created")}
            return super().format(logging.makeLogRecord(kept | {"msg": "A line that could not be formatted."}))

    def _json(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        common = _common(event) | self._process
        exception = [
            {"type": _name(error), "message": safe_message(error), "frames": safe_frames(error)[-MAX_FRAMES:]}
            for error in exception_chain(_error(event))[:MAX_EXCEPTIONS]
        ]
        line = json.dumps(common | _extra(event) | ({"exception": exception} if exception else {}))
        if len(line) <= MAX_LINE_LENGTH:
            return line
        shorter = [each | {"frames": each["frames"][-3:]} for each in exception[:2]]
        return json.dumps(common | {"cut": True} | ({"exception": shorter} if shorter else {}))


_add_extra: Final[Processor] = structlog.stdlib.ExtraAdder()


def _event(record: logging.LogRecord) -> EventDict:
    """Return what structlog's chain makes of a record of the standard library's loggers."""
    event: EventDict = {"event": record.getMessage(), "_record": record, "exc_info": record.exc_info}
    _add_extra(None, "", event)
    return event


def _text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep the traceback as Python prints it, for developers."""
    line = _common(event) | _extra(event)
    line["event"] = line["event"].replace("\r", "\\r").replace("\n", "\\n")
    return line | ({"exc_info": error} if (error := _error(event)) else {})


_console: Final = structlog.dev.ConsoleRenderer(
    colors=False, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
)


def _common(event: EventDict) -> dict[str, Any]:
    """Return the fields of every line."""
    record: logging.LogRecord = event["_record"]
    message = str(event["event"])
    if record.name == "gunicorn.error":
        for start in MESSAGES_THAT_QUOTE_REQUESTS:
            if message.startswith(start):
                message = f"{start}: {type(sys.exc_info()[1]).__name__}"
    return {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": redact(message)[:MAX_TEXT_LENGTH],
        "request_id": structlog.contextvars.get_contextvars().get("request_id", "-"),
    }


def _extra(event: EventDict) -> dict[str, Any]:
    """Return the `extra` of our own loggers. Libraries put requests, statements and parameters there."""
    if not event["_record"].name.startswith(OWN_LOGGERS):
        return {}
    rest = {name: value for name, value in event.items() if name not in NOT_EXTRA and not name.startswith("_")}
    values: dict[str, Any] = _to_json_value(rest)
    return values


def _to_json_value(value: object, depth: int = MAX_DEPTH) -> Any:
    """Return a value for JSON: values under secret names are filtered, and an object becomes its type's name."""
    match value:
        case None | bool() | int() | float():
            return value
        case str() | UUID() | Decimal() | date() | time() | timedelta():
            return redact(str(value))[:MAX_TEXT_LENGTH]
        case Mapping() if depth:
            return {
                str(name): FILTERED if is_secret(str(name)) else _to_json_value(each, depth - 1)
                for name, each in value.items()
            }
        case list() | tuple() | set() | frozenset() if depth:
            return [_to_json_value(each, depth - 1) for each in value]
        case _:
            return _name(value)


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _error(event: EventDict) -> BaseException | None:
    """Return the error of a line; structlog's own loggers pass `exc_info` unresolved."""
    match event.get("exc_info"):
        case BaseException() as error:
            return error
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None
