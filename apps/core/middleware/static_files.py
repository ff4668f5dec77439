"""Static files by WhiteNoise, with problem details in place of its empty error pages."""

from django.http import HttpRequest, HttpResponseBase
from rest_framework.exceptions import MethodNotAllowed
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from apps.core.problem import from_exception


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # it ships no types
    """Reject other methods than GET and HEAD with a problem, and ignore `Range` (RFC 9110 §14.2), which could be a 416."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponseBase:
        if request.method not in {"GET", "HEAD"}:
            not_allowed = from_exception(request, MethodNotAllowed(request.method or ""))
            not_allowed.headers["Allow"] = "GET, HEAD"
            return not_allowed
        request.META.pop("HTTP_RANGE", None)
        response: HttpResponseBase = WhiteNoiseMiddleware.serve(static_file, request)
        return response
