"""Pagination by signed cursor: stable while rows are added, equally fast on every page, and safe from tampering."""

import re
from typing import Any

from django.core import signing
from django.db.models import QuerySet
from django.urls import reverse
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from apps.core.errors import FieldError
from apps.core.problem import BadRequest, InvalidParameters


class SignedCursorPagination(CursorPagination):
    """DRF's cursor pagination with a cursor that is signed for one path, user and set of filters.

    The view's `ordering` names one unique column that never changes; so a cursor never skips or repeats a row. `limit` is
    1 to 200.

    Raises: BadRequest `invalid_cursor`, or `invalid_parameter` for a bad limit.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: APIView | None = None) -> list[Any]:
        self._signer = signing.Signer(salt=_scope(request))
        return list(super().paginate_queryset(queryset, request, view) or [])

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str]:
        return (view.ordering,)

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit")
        if text is None:
            return self.page_size
        if re.fullmatch(r"[1-9][0-9]{0,2}", text, re.ASCII) and int(text) <= self.max_page_size:
            return int(text)
        raise InvalidParameters([FieldError("limit", "invalid", f"A whole number from 1 to {self.max_page_size}.")])

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                bounds = {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
                parameter["schema"] = {"type": "integer"} | bounds
        return parameters

    def decode_cursor(self, request: Request) -> Cursor | None:
        text = request.query_params.get("cursor")
        if text is None:
            return None
        try:
            return Cursor(*self._signer.unsign_object(text))
        # ValueError and TypeError: the text is not base64, and fails before its signature is compared.
        except (signing.BadSignature, ValueError, TypeError) as error:
            raise BadRequest("invalid_cursor", "The cursor does not belong to this list; start without one.") from error

    def encode_cursor(self, cursor: Cursor) -> str:
        return replace_query_param(self.base_url or "", "cursor", self._signer.sign_object(list(cursor)))


def _scope(request: Request) -> str:
    """Return what a cursor is valid for: the caller, the path and every parameter but the position and the page's size.

    The path is that of the route, not `get_full_path()`: an id in capitals names the same list.
    """
    match = request.resolver_match
    assert match is not None  # noqa: S101  a view that pages has a route
    url = f"{reverse(match.view_name, kwargs=match.kwargs)}?{request.META.get('QUERY_STRING', '')}"
    for name in ("cursor", "limit"):
        url = remove_query_param(url, name)
    return f"cursor of {request.user.pk} for {url}"
