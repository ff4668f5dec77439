"""WSGI handler: it reads the Content-Type of a request leniently, before any middleware runs."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters


class LenientWSGIRequest(WSGIRequest):
    """A request whose Content-Type neither breaks it nor chooses the codec of its query string.

    Django decodes the query string by the charset of the Content-Type here, before any error handler: a header such as
    `text/plain; charset=zlib` would be an unhandled error. This class always decodes UTF-8;
    `apps.core.middleware.request_validation` refuses other charsets.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            self.content_type, self.content_params = "", {"charset": "unreadable"}


class LenientWSGIHandler(WSGIHandler):
    """Django's handler with `LenientWSGIRequest`."""

    request_class = LenientWSGIRequest
