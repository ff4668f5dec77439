"""Views and a middleware that fail, with all that the client sent and the server's secrets in their errors.

The answers must be problems and the logs must hold none of it, so each fault puts it elsewhere.
"""

import logging

from django.conf import settings
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.response import Response

from apps.core.views import Endpoint
from tests.notes.urls import handler400, handler403, handler404, handler500, urlpatterns  # noqa: F401  Django reads them

logger = logging.getLogger("apps.faulty")
library = logging.getLogger("library")


def everything(request) -> str:
    """Return every secret and all that was sent, unquoted, as no error should hold it."""
    password = settings.DATABASES["default"]["PASSWORD"]
    return " ".join(
        [
            settings.SECRET_KEY,
            str(password),
            request.get_full_path(),
            request.body.decode(errors="replace"),
            *(f"{name} {value}" for name, value in request.headers.items()),
        ]
    )


class FaultyMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "X-Fault" in request.headers:
            raise LookupError(everything(request))
        return self.get_response(request)


class FaultySerializer(serializers.Serializer):
    def to_internal_value(self, data):
        oddly_named = {"deep": [data]}
        raise RuntimeError(f"cannot take {oddly_named}")


class SerializerView(Endpoint):
    def post(self, request):
        return Response(self.validated_body(FaultySerializer))


class ViewView(Endpoint):
    def post(self, request):
        oddly_named = everything(request._request)
        try:
            {}[oddly_named]
        except KeyError as error:
            raise RuntimeError(f"because of {oddly_named}") from error


class StatementView(Endpoint):
    """Values in the statement, in its parameters, and in PostgreSQL's message about them."""

    def post(self, request):
        said = everything(request._request).replace("%", "").replace("'", "")
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS once (said text CONSTRAINT said_once PRIMARY KEY)")
            for _ in range(2):
                cursor.execute(f"/* {said} */ INSERT INTO once SELECT %s || '{said}'", [said])


class CastView(Endpoint):
    def post(self, request):
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::numeric", [everything(request._request)])


def plain_view(request):
    """A view of Django's, without DRF, which logs all of it, too."""
    said = everything(request)
    library.warning("The request", extra={"data": said, "request": request, "password": said})
    logger.warning(
        "Our own", extra={"password": said, "api_token": said, "nested": {"cookie": said}, "request": request}
    )
    logger.error("%d", said)
    raise ValueError(said)


def logging_view(request):
    """Log the request's own id, so that a test can compare it with the line's."""
    for _ in range(3):
        logger.info("Seen", extra={"seen": request.headers["X-Request-Id"]})
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.002)")
    return HttpResponse()


def streaming_view(request):
    """Begin an answer, and break off."""

    def parts():
        yield b"begun"
        raise RuntimeError(everything(request))

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("faulty/serializer/", SerializerView.as_view()),
    path("faulty/view/", ViewView.as_view()),
    path("faulty/statement/", StatementView.as_view()),
    path("faulty/cast/", CastView.as_view()),
    path("faulty/plain/", csrf_exempt(plain_view)),
    path("faulty/logging/", logging_view),
    path("faulty/streaming/", csrf_exempt(streaming_view)),
    *urlpatterns,
]
