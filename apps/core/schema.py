"""OpenAPI schema generation: every operation lists the problems that it can return, so that generated clients have them."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from apps.core.errors import DomainError
from apps.core.fields import NO_CONTROL_CHARACTERS, NOT_BLANK, StrictSerializer, TextField
from apps.core.problem import STATUS_OF_KIND


class FieldProblem(serializers.Serializer[Any]):
    """One invalid field."""

    field = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """RFC 9457 problem details; programs branch on `code`."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    instance = serializers.CharField()
    request_id = serializers.CharField()
    errors = FieldProblem(many=True, required=False)  # type: ignore[assignment]  # a field of this name


class ProblemSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # its metaclass has no annotations
    """Describes Problem with the members that domain errors add (RFC 9457 §3.2)."""

    target_class = Problem

    def map_serializer(self, auto_schema: AutoSchema, direction: Literal["request", "response"]) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(  # type: ignore[no-untyped-call]  # noqa: SLF001  documented so
            self.target, direction, bypass_extensions=True
        )
        for error in _subclasses(DomainError):
            schema["properties"] |= error.extension_schema
        return schema


def _subclasses(error: type[DomainError]) -> Iterator[type[DomainError]]:
    for each in error.__subclasses__():
        yield each
        yield from _subclasses(each)


class ProblemAutoSchema(AutoSchema):
    """Adds the problem responses of an operation: its view's, and those of middlewares and base classes."""

    def get_auth(self) -> list[dict[str, Any]]:
        """Return no security requirement for a view without authenticators; DRF's AllowAny would make it an optional one."""
        return super().get_auth() if self.view.get_authenticators() else []

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for status, codes in sorted(self._problem_codes().items()):
            body = self._get_response_for_code(  # type: ignore[no-untyped-call]  # has no annotations
                Problem, str(status), ["application/problem+json"]
            )
            body["description"] = "Problem: " + ", ".join(f"`{code}`" for code in codes)
            if status in RETRIABLE:
                body["headers"] = {"Retry-After": RETRY_AFTER}
            bodies.setdefault(str(status), body)
        return bodies

    def _problem_codes(self) -> dict[int, list[str]]:
        codes: dict[int, list[str]] = defaultdict(list)
        # A NUL in a query string is refused, whether the view reads it or not.
        codes[400] += ["invalid_host", "invalid_parameter"]
        codes[403].append("https_required")
        if self._has_body():
            codes[400] += ["invalid_request", "malformed_json", "duplicate_key", "unknown_field"]
        if self._is_list_view():
            codes[400].append("invalid_cursor")
        # Any request can carry a body, even where none is read, and any can accept only another type than JSON.
        codes[406].append("not_acceptable")
        codes[411].append("length_required")
        codes[413].append("body_too_large")
        codes[415].append("unsupported_media_type")
        if self.view.get_authenticators():
            codes[401].append("not_authenticated")
        if "{" in self.path:
            codes[404].append("not_found")
        of_method = getattr(self.view, "domain_errors_by_method", {}).get(self.method, ())
        for error in (*getattr(self.view, "domain_errors", ()), *of_method):
            status = int(STATUS_OF_KIND[error.kind])
            if error.code not in codes[status]:
                codes[status].append(error.code)
        if "throttled" not in codes[429]:
            codes[429].append("throttled")
        codes[500].append("internal_error")
        codes[503].append("unavailable")
        return codes

    def _has_body(self) -> bool:
        return self.method in {"POST", "PUT", "PATCH"}


class StrictSerializerSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # its metaclass has no annotations
    """Describes StrictSerializer and TextField: no additional properties, no control characters."""

    target_class = StrictSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Literal["request", "response"]) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(  # type: ignore[no-untyped-call]  # noqa: SLF001  documented so
            self.target, direction, bypass_extensions=True
        )
        for name, field in self.target.fields.items():
            if isinstance(field, TextField):
                pattern = NO_CONTROL_CHARACTERS if field.allow_blank or not field.trim_whitespace else NOT_BLANK
                schema["properties"][name] = {"pattern": pattern} | schema["properties"][name]
        return schema | {"additionalProperties": False}


RETRIABLE = {409, 429, 503}
RETRY_AFTER = {
    "description": "Seconds to wait before the same request is worth sending again.",
    "schema": {"type": "integer", "minimum": 1},
}
