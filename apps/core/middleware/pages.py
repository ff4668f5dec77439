"""Pages: the middlewares that only pages need, which a request of the API does not pass.

`MIDDLEWARE` has them between `BeginPagesMiddleware` and `EndPagesMiddleware`. An API request goes from the one to the other
directly: it has no session, cookie, form or file. Between the two, Django's own classes stand under their own names, which
its checks look for.
"""

from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

API_PREFIX = "/api/"
# Django builds its chain of middlewares from the inside out: the end of the pages is made just before their begin.
_after_pages: ContextVar[Callable[[HttpRequest], HttpResponse]] = ContextVar("after_pages")


class BeginPagesMiddleware:
    """Pass a page on, and a request of the API to what stands behind the pages' middlewares."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._after_pages = _after_pages.get()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(API_PREFIX):
            return self._after_pages(request)
        return self.get_response(request)


class EndPagesMiddleware:
    """Mark where the middlewares of pages end."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        _after_pages.set(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)
