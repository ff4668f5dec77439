"""Base classes of the API's views: Endpoint and, for paged lists, ListEndpoint; and the response to a creation."""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.conditional import tagged_response
from apps.core.creation import Creation
from apps.core.errors import DomainError, FieldError
from apps.core.idempotency import replay_header
from apps.core.problem import InvalidParameters, field_errors

PAGE_PARAMETERS: Final = {"cursor", "limit"}


class Endpoint(APIView):
    """The operations of one resource, without OPTIONS and TRACE."""

    http_method_names = ["get", "head", "post", "patch", "delete"]  # noqa: RUF012  Django declares it so
    domain_errors: ClassVar[tuple[type[DomainError], ...]] = ()
    """Domain errors of all its operations, for the OpenAPI schema."""
    domain_errors_by_method: ClassVar[Mapping[str, tuple[type[DomainError], ...]]] = {}
    """Further domain errors of one method, as {"PATCH": (Contention,)}."""

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Return none for a view that AllowAny opens.

        A client with an expired token must be able to log in, and its requests count under its address.
        """
        # drf-spectacular calls this without a request, so without a method, and again with one.
        method = getattr(self.request, "method", None)
        if method and any(isinstance(permission, AllowAny) for permission in self.get_permissions()):
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
        """Return the validated request body. Raises: the errors of the parser and of the serializer."""
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class ListEndpoint(Endpoint, ListAPIView[Any]):
    """A page of the caller's rows; `ordering` is the unique column of its cursor. No filter has a default that changes.

    A query parameter that is unknown, repeated or malformed is refused, as a mistyped filter would otherwise return
    every row.
    """

    ordering: ClassVar[str]
    filters: ClassVar[type[serializers.Serializer[Any]]] = serializers.Serializer

    validated_query: dict[str, Any]
    """The validated filters."""

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.validated_query = self._validated_query()
        return self.get_page()

    def get_rows(self) -> Any:
        """Return the list's rows: a queryset, or a list that pages as one does and has what the response shows."""
        return self.get_queryset()

    def get_page(self) -> Response:
        """Return one page of the rows; the serializer renders those of a queryset."""
        rows = self.get_rows()
        page = self.paginate_queryset(rows)
        is_rendered = not isinstance(rows, QuerySet)
        return self.get_paginated_response(page if is_rendered else self.get_serializer(page, many=True).data)

    def _validated_query(self) -> dict[str, Any]:
        parameters = self.request.query_params
        if parameters.keys() <= PAGE_PARAMETERS and all(len(values) == 1 for _, values in parameters.lists()):
            return _without_filters(self.filters)
        known = {*PAGE_PARAMETERS, *self.filters().fields}
        errors = [
            FieldError(name, "unknown", "This parameter is not known here.") for name in parameters if name not in known
        ]
        errors += [
            FieldError(name, "repeated", "This parameter is there more than once.")
            for name, values in parameters.lists()
            if len(values) > 1
        ]
        serializer = self.filters(data=parameters.dict())
        if not serializer.is_valid():
            details = serializers.ValidationError(serializer.errors).get_full_details()
            errors += field_errors(details)
        if errors:
            raise InvalidParameters(errors)
        return dict(serializer.validated_data)


@cache
def _without_filters(filters: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """Return what a list's filters make of a request without any."""
    serializer = filters(data={})
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def created_response(creation: Creation[Any], output: type[serializers.Serializer[Any]], *, url_name: str) -> Response:
    """Return 201 with the row, its entity tag, its Location and, where it repeats an answer, the mark of a replay."""
    headers = {"Location": reverse(url_name, args=[creation.row.pk])} | replay_header(replayed=creation.replayed)
    return tagged_response(output(creation.row).data, status=201, headers=headers)
