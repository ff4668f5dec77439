"""How a request is read from the server before any middleware sees it."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters


class LenientWSGIRequest(WSGIRequest):
    """A request whose Content-Type neither breaks it nor chooses the codec of its query string.

    Django decodes the query string by the charset that is sent, here, where no handler catches anything yet: one header,
    `text/plain; charset=zlib`, would be an unhandled error. Ours is UTF-8 whatever is sent;
    `apps.core.middleware.request_validation` refuses the rest.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            self.content_type, self.content_params = "", {"charset": "unreadable"}


class LenientWSGIHandler(WSGIHandler):
    """Django's handler for plain requests."""

    request_class = LenientWSGIRequest
