"""Sentry: report unhandled errors, and a sample of the requests, if SENTRY_DSN is set.

Events hold no customer data: each is rebuilt from the fields below, so data that a later version of the SDK collects is
dropped as well. An error is reported once, by the signal that Django and `apps.core.problem` send. A database outage is not
reported: logs and metrics show it, and Sentry would get it thousands of times.
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

SAFE_EVENT_FIELDS: Final = (
    "event_id",
    "timestamp",
    "start_timestamp",
    "type",
    "level",
    "platform",
    "environment",
    "release",
    "sdk",
)
SAFE_MECHANISM_FIELDS: Final = ("type", "handled")
SAFE_FRAME_FIELDS: Final = (
    "filename",
    "abs_path",
    "module",
    "function",
    "lineno",
    "in_app",
    "pre_context",
    "context_line",
    "post_context",
)
SAFE_SPAN_FIELDS: Final = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "op",
    "status",
    "origin",
    "start_timestamp",
    "timestamp",
)
SQL_VERBS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def start(*, dsn: str, environment: str, release: str, traces_sample_rate: float) -> None:
    """Start reporting; in each process after its fork, because the SDK's threads do not survive one."""

    def sample(context: Mapping[str, Any]) -> float:
        probed = context.get("wsgi_environ", {}).get("PATH_INFO") in PATHS
        return 0.0 if probed else traces_sample_rate

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=release,
        traces_sampler=sample if traces_sample_rate else None,
        before_send=_scrub_error,
        before_send_transaction=_scrub_transaction,
        # The scrubbing below would drop these.
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
            # Sends pending events; its default callback would print their number.
            AtexitIntegration(callback=lambda _pending, _timeout: None),
        ],
        shutdown_timeout=2,
    )


class SentryRequestIdMiddleware:
    """Tag the events of a request with its id: a transaction is sent when the request is over."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sentry_sdk.get_isolation_scope().set_tag("request_id", current_request_id())
        return self.get_response(request)


def _scrub_error(event: Any, hint: Mapping[str, Any]) -> Any:
    messages = {
        (type(error).__name__, str(error)): safe_message(error)
        for error in exception_chain(hint.get("exc_info", (None,) * 3)[1])
    }
    values = (event.get("exception") or {}).get("values") or []
    return _common(event) | {"exception": {"values": [_exception(value, messages) for value in values]}}


def _scrub_transaction(event: Any, _hint: Mapping[str, Any]) -> Any:
    return _common(event) | {"spans": [_span(span) for span in event.get("spans") or []]}


def _common(event: Mapping[str, Any]) -> dict[str, Any]:
    contexts = event.get("contexts") or {}
    kept = _pick(event, SAFE_EVENT_FIELDS)
    kept["tags"] = _pick(dict(event.get("tags") or {}), ("request_id",))
    kept["contexts"] = {"trace": _pick(contexts.get("trace") or {}, SAFE_SPAN_FIELDS)}
    # The route; without one the SDK sends the path.
    if (event.get("transaction_info") or {}).get("source") == "route":
        kept |= _pick(event, ("transaction", "transaction_info"))
    if method := (event.get("request") or {}).get("method"):
        kept["request"] = {"method": method}
    return kept


def _exception(value: Mapping[str, Any], messages: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames") or []
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "value": messages.get((value.get("type") or "", value.get("value") or ""), ""),
        "mechanism": _pick(value.get("mechanism") or {}, SAFE_MECHANISM_FIELDS),
        "stacktrace": {"frames": [_pick(frame, SAFE_FRAME_FIELDS) for frame in frames]},
    }


def _span(span: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a statement by its first word: the rest may hold values."""
    verb = next(iter(str(span.get("description") or "").split()), "").upper()
    return _pick(span, SAFE_SPAN_FIELDS) | ({"description": verb} if verb in SQL_VERBS else {})


def _pick(members: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: members[name] for name in names if name in members}
