"""Static files by WhiteNoise, whose own refusals would be empty pages that no client of ours expects."""

from django.http import HttpRequest, HttpResponseBase
from rest_framework.exceptions import MethodNotAllowed
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from apps.core.problem import from_exception


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # it ships no types
    """Refuse other methods than GET and HEAD with a problem, and ignore `Range` (RFC 9110 §14.2), which could be a 416."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponseBase:
        if request.method not in {"GET", "HEAD"}:
            refusal = from_exception(request, MethodNotAllowed(request.method or ""))
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        request.META.pop("HTTP_RANGE", None)
        response: HttpResponseBase = WhiteNoiseMiddleware.serve(static_file, request)
        return response
