"""URLs of the API, its documentation and the admin. Probes are answered by a middleware (apps.core.middleware.probes)."""

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from apps.core import problem
from apps.users.views import TokenView

# Without DOCS_OPEN they are 404 like any unknown URL.
docs = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("schema/swagger-ui/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="swagger-ui"),
]
back_office = [path(settings.ADMIN_PATH, admin.site.urls)]

urlpatterns = [
    path("api/token/", TokenView.as_view(), name="token"),
    path("api/v1/", include("apps.users.urls")),
    path("api/v1/", include("apps.ledger.urls")),  # <sample/>
    *(docs if settings.DOCS_OPEN else []),
    *(back_office if settings.ADMIN_PATH else []),
    # Locally, with SILK=true.
    *([path("silk/", include("silk.urls", namespace="silk"))] if apps.is_installed("silk") else []),
    # A route, not only handler404: with DEBUG on, Django responds to an unmatched URL in HTML.
    re_path(r"", csrf_exempt(problem.not_found)),
]

handler400 = problem.bad_request
handler403 = problem.permission_denied
handler404 = problem.not_found
handler500 = problem.server_error
