"""URL patterns that the resolver serves: the API's by name, the admin's by route."""

from django.urls import URLPattern, URLResolver, get_resolver


def patterns(resolver: URLResolver | None = None, before: str = "") -> dict[str, URLPattern]:
    """Return every URL that is served, by its whole route."""
    found = {}
    for each in (resolver or get_resolver()).url_patterns:
        route = before + str(each.pattern)
        found |= patterns(each, route) if isinstance(each, URLResolver) else {route: each}
    return found


CATCH_ALL = ""

ADMIN = [route for route in patterns() if route.startswith("admin/")]

API = {each.name: each for route, each in patterns().items() if route not in {*ADMIN, CATCH_ALL}}
