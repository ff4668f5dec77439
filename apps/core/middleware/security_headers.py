"""What every answer tells a browser: the probes' and the refusals' too, which most middleware never sees."""

from typing import Final

from csp.constants import HEADER as POLICY
from csp.utils import build_policy
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware

HEADERS: Final = {
    # Balances and tokens are for who asked. An ETag still serves: a client that sends it back has kept it by itself.
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeadersMiddleware(SecurityMiddleware):
    """Django's security headers and ours on whatever comes from further in; what an answer says by itself stays.

    It redirects nobody: Django's own, which does, stands behind the check of the host.
    """

    def process_request(self, request: HttpRequest) -> None:
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        # drf-spectacular opens its page to the windows of OAuth flows, which nobody has here.
        del response.headers["Cross-Origin-Opener-Policy"]
        response = super().process_response(request, response)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            # A page of the admin or of Swagger UI, as csp.decorators.csp_replace would say it.
            vars(response).setdefault("_csp_replace", settings.CONTENT_SECURITY_POLICY_OF_PAGES)
        else:
            # Said here, because django-csp leaves 404s and 500s alone while DEBUG is on.
            response.headers.setdefault(POLICY, build_policy())
        return response
