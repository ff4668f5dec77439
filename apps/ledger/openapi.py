"""OpenAPI schema decorator that the money operations share."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import extend_schema
from rest_framework.serializers import Serializer

from apps.core.openapi import LOCATION, key_parameter, replayed_header
from apps.ledger.serializers import TransactionOutput

F = TypeVar("F", bound=Callable[..., Any])


def money_schema(request: type[Serializer[Any]], operation_id: str) -> Callable[[F], F]:
    """Return the OpenAPI description that all money operations share: parameters, headers and the 201."""
    described: Callable[[F], F] = extend_schema(
        request=request,
        responses={201: TransactionOutput},
        operation_id=operation_id,
        parameters=[key_parameter(required=True), LOCATION, replayed_header(201, 422)],
    )
    return described
