"""Errors, and a sample of the requests, go to Sentry where SENTRY_DSN names one.

Nothing of a customer's goes along: an event is put together anew from the members that are known to be harmless, so
what a later version of the SDK collects stays here, too.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from apps.core.redaction import describe, redact
from apps.core.request_id import current_request_id

PROBES = frozenset({"/livez/", "/ping/", "/readyz/"})
HARMLESS = (
    *("event_id", "timestamp", "start_timestamp", "type", "level", "platform", "logger"),
    *("environment", "release", "sdk", "transaction", "transaction_info"),
)
HARMLESS_IN_FRAME = (
    *("filename", "abs_path", "module", "function", "lineno", "in_app", "pre_context", "context_line", "post_context"),
)
HARMLESS_IN_SPAN = ("trace_id", "span_id", "parent_span_id", "op", "status", "origin", "start_timestamp", "timestamp")
HARMLESS_IN_TRACE = (*HARMLESS_IN_SPAN, "sampled")


def start(*, dsn: str, environment: str, release: str, traces_sample_rate: float) -> None:
    """Report from here on. An error is reported once, by the signal that `apps.core.problem` sends, and not by its log."""

    def sample(context: Mapping[str, Any]) -> float:
        path = context.get("wsgi_environ", {}).get("PATH_INFO")
        return 0.0 if path in PROBES else traces_sample_rate

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=release or None,
        traces_sampler=sample,
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        server_name="-",
        integrations=[LoggingIntegration(level=None, event_level=None)],
        before_send=_error,
        before_send_transaction=_transaction,
    )


def _error(event: Any, hint: Mapping[str, Any]) -> Any:
    kept = _common(event)
    if values := (event.get("exception") or {}).get("values"):
        messages = _messages(hint)
        kept["exception"] = {"values": [_exception(value, messages) for value in values]}
    return kept


def _transaction(event: Any, _hint: Mapping[str, Any]) -> Any:
    # What a span is called may hold the path or the statement with its values.
    return _common(event) | {"spans": [_only(span, HARMLESS_IN_SPAN) for span in event.get("spans") or []]}


def _common(event: Mapping[str, Any]) -> dict[str, Any]:
    request, contexts = event.get("request") or {}, event.get("contexts") or {}
    kept = _only(event, HARMLESS)
    kept["tags"] = {"request_id": current_request_id()}
    kept["contexts"] = {"trace": _only(contexts.get("trace") or {}, HARMLESS_IN_TRACE)}
    if request:
        kept["request"] = {"method": request.get("method"), "url": redact(urlsplit(request.get("url", "")).path)}
    if user_id := (event.get("user") or {}).get("id"):
        kept["user"] = {"id": user_id}
    return kept


def _exception(value: Mapping[str, Any], messages: Mapping[str, str]) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames") or []
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "value": messages.get(value.get("value") or "", ""),
        "stacktrace": {"frames": [_only(frame, HARMLESS_IN_FRAME) for frame in frames]},
    }


def _messages(hint: Mapping[str, Any]) -> dict[str, str]:
    """Return what may be told of each exception in the chain, by what it said."""
    messages = {}
    error: BaseException | None = (hint.get("exc_info") or (None, None, None))[1]
    while error is not None and str(error) not in messages:
        messages[str(error)] = describe(error)
        error = error.__cause__ or error.__context__
    return messages


def _only(members: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: members[name] for name in names if name in members}
