"""Security headers for every response, including probes and errors raised by other middleware."""

from collections.abc import Callable
from typing import Final

from csp.constants import HEADER as POLICY
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.security import SecurityMiddleware

HEADERS: Final = {
    # Balances and tokens are for their owner. An ETag still works: a client that sends it back has stored it by itself.
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeadersMiddleware(SecurityMiddleware):
    """Add Django's security headers and ours to every response; headers that a response has set stay.

    It redirects nothing: Django's own middleware, which does, stands behind the check of the host.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)
        self._policy = build_policy()

    def process_request(self, request: HttpRequest) -> None:
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        # drf-spectacular allows the windows of OAuth flows, which are not used here.
        del response.headers["Cross-Origin-Opener-Policy"]
        response = super().process_response(request, response)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            # A page of the admin or of Swagger UI, as with csp.decorators.csp_replace.
            vars(response).setdefault("_csp_replace", settings.CONTENT_SECURITY_POLICY_OF_PAGES)
        else:
            # Set here, because django-csp skips 404s and 500s while DEBUG is on.
            response.headers.setdefault(POLICY, self._policy)
        return response


class PagePolicyMiddleware(CSPMiddleware):
    """Build the Content-Security-Policy of a page; other responses have theirs."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return response if POLICY in response.headers else super().process_response(request, response)
