"""Unforeseen errors, and a sample of the requests, go to Sentry where SENTRY_DSN names one.

Nothing of a customer's goes along: an event is put together anew from the members that are known to be harmless, so
what a later version of the SDK collects stays here, too. An error is reported once, by the signal that Django and
`apps.core.problem` send; an outage of the database is none: logs and metrics tell it, and Sentry would hear it thousands
of times.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import sentry_sdk
from django.http import HttpRequest, HttpResponse
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.django import DjangoIntegration

from apps.core.middleware.probes import PATHS
from apps.core.middleware.request_id import current_request_id
from apps.core.observability.redaction import exception_chain, safe_message

HARMLESS: Final = (
    *("event_id", "timestamp", "start_timestamp", "type", "level", "platform", "environment", "release", "sdk"),
)
HARMLESS_IN_MECHANISM: Final = ("type", "handled")
HARMLESS_IN_FRAME: Final = (
    *("filename", "abs_path", "module", "function", "lineno", "in_app", "pre_context", "context_line", "post_context"),
)
HARMLESS_IN_SPAN: Final = (
    *("trace_id", "span_id", "parent_span_id", "op", "status", "origin", "start_timestamp", "timestamp"),
)
STATEMENTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def start(*, dsn: str, environment: str, release: str, traces_sample_rate: float) -> None:
    """Report from here on; in each process for itself, because the SDK's threads do not survive a fork."""

    def sample(context: Mapping[str, Any]) -> float:
        probed = context.get("wsgi_environ", {}).get("PATH_INFO") in PATHS
        return 0.0 if probed else traces_sample_rate

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=release,
        traces_sampler=sample if traces_sample_rate else None,
        before_send=_error,
        before_send_transaction=_transaction,
        # What is thrown away below need not be collected.
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        max_breadcrumbs=0,
        auto_session_tracking=False,
        # No logging, no hooks in other libraries.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            DjangoIntegration(signals_spans=False),
            # Sends what is still to be sent; it would print how much that is.
            AtexitIntegration(callback=lambda _pending, _timeout: None),
        ],
        shutdown_timeout=2,
    )


class SentryRequestIdMiddleware:
    """Give what happens in a request its id: a transaction is sent when the request is over."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sentry_sdk.get_isolation_scope().set_tag("request_id", current_request_id())
        return self.get_response(request)


def _error(event: Any, hint: Mapping[str, Any]) -> Any:
    told = {
        (type(error).__name__, str(error)): safe_message(error)
        for error in exception_chain(hint.get("exc_info", (None,) * 3)[1])
    }
    values = (event.get("exception") or {}).get("values") or []
    return _common(event) | {"exception": {"values": [_exception(value, told) for value in values]}}


def _transaction(event: Any, _hint: Mapping[str, Any]) -> Any:
    return _common(event) | {"spans": [_span(span) for span in event.get("spans") or []]}


def _common(event: Mapping[str, Any]) -> dict[str, Any]:
    contexts = event.get("contexts") or {}
    kept = _only(event, HARMLESS)
    kept["tags"] = _only(dict(event.get("tags") or {}), ("request_id",))
    kept["contexts"] = {"trace": _only(contexts.get("trace") or {}, HARMLESS_IN_SPAN)}
    # A route; where there is none the SDK puts the path.
    if (event.get("transaction_info") or {}).get("source") == "route":
        kept |= _only(event, ("transaction", "transaction_info"))
    if method := (event.get("request") or {}).get("method"):
        kept["request"] = {"method": method}
    return kept


def _exception(value: Mapping[str, Any], told: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames") or []
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "value": told.get((value.get("type") or "", value.get("value") or ""), ""),
        "mechanism": _only(value.get("mechanism") or {}, HARMLESS_IN_MECHANISM),
        "stacktrace": {"frames": [_only(frame, HARMLESS_IN_FRAME) for frame in frames]},
    }


def _span(span: Mapping[str, Any]) -> dict[str, Any]:
    """Name a statement by its first word: the rest may hold values."""
    verb = next(iter(str(span.get("description") or "").split()), "").upper()
    return _only(span, HARMLESS_IN_SPAN) | ({"description": verb} if verb in STATEMENTS else {})


def _only(members: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: members[name] for name in names if name in members}
