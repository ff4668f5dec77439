"""What every view of the API shares."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast
from uuid import UUID

from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import DomainError, FieldError
from apps.core.problem import InvalidParameters, field_errors


class Endpoint(APIView):
    """One resource's operations; OPTIONS and TRACE are not among them."""

    http_method_names = ["get", "head", "post", "patch", "delete"]  # noqa: RUF012  Django declares it so
    domain_errors: ClassVar[tuple[type[DomainError], ...]] = ()
    """The domain errors that all its operations may answer with, for the OpenAPI schema."""
    domain_errors_by_method: ClassVar[Mapping[str, tuple[type[DomainError], ...]]] = {}
    """Those that one method may answer with besides, as {"PATCH": (Contention,)}."""

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Return none where anybody may: who has a stale token must be able to get a new one, and is counted as anybody."""
        # drf-spectacular asks before there is a request, and so before there is a method, and again when there is one.
        asked = getattr(self.request, "method", None)
        if asked and any(isinstance(permission, AllowAny) for permission in self.get_permissions()):
            return []
        return super().get_authenticators()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the method, the Accept header, the token, the rate limit and the permissions, in this order.

        DRF counts a request after its permissions, so it would count none that gets 401 or 403, and it authenticates
        before it looks at the method. A request whose token is refused counts under its address.
        """
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(request.method or "")
        self.format_kwarg = self.get_format_suffix(**kwargs)
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        request.version, request.versioning_scheme = self.determine_version(request, *args, **kwargs)
        try:
            self.perform_authentication(request)
        except AuthenticationFailed:
            self.check_throttles(request)
            raise
        self.check_throttles(request)
        self.check_permissions(request)

    @property
    def caller_id(self) -> UUID:
        """The authenticated caller's id."""
        return cast("UUID", self.request.user.pk)

    def validated_body(self, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """Return the validated request body; raises what the parser and the serializer refuse."""
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class ListEndpoint(Endpoint, ListAPIView[Any]):
    """A page of the caller's rows; `ordering` is the unique column that its cursor follows.

    A query parameter that is unknown, repeated or malformed is refused: a mistyped filter on money must not return
    everything.
    """

    ordering: ClassVar[str]
    filters: ClassVar[type[serializers.Serializer[Any]]] = serializers.Serializer

    validated_query: dict[str, Any]
    """The validated filters."""

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.validated_query = self._validated_query()
        return super().list(request, *args, **kwargs)

    def _validated_query(self) -> dict[str, Any]:
        sent = self.request.query_params
        known = {"cursor", "limit", *self.filters().fields}
        errors = [
            FieldError(name, "unknown", "This parameter is not known here.") for name in sent if name not in known
        ]
        errors += [
            FieldError(name, "repeated", "This parameter is there more than once.")
            for name, values in sent.lists()
            if len(values) > 1
        ]
        serializer = self.filters(data=sent.dict())
        if not serializer.is_valid():
            details = serializers.ValidationError(serializer.errors).get_full_details()
            errors += field_errors(details)
        if errors:
            raise InvalidParameters(errors)
        return dict(serializer.validated_data)
