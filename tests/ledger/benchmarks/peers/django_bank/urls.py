"""URLs of the contender that BENCHMARK_VARIANT names: tutorial, naive, locked, redis, or ninja."""

from django.conf import settings
from django.urls import path

from tests.ledger.benchmarks.peers.django_bank import views

if settings.VARIANT == "ninja":
    from tests.ledger.benchmarks.peers.django_bank.ninja_api import api

    urlpatterns = [path("api/", api.urls)]
else:
    urlpatterns = [
        path("api/v1/accounts/<uuid:account_id>/withdrawals/", views.WithdrawalsView.as_view()),
        path("api/v1/accounts/<uuid:account_id>/transfers/", views.TransfersView.as_view()),
        path("api/v1/accounts/<uuid:account_id>/transactions/", views.StatementView.as_view()),
        path("api/v1/accounts/<uuid:account_id>/", views.AccountView.as_view()),
        path("api/token/", views.TokenView.as_view()),
    ]
urlpatterns.append(path("livez/", views.alive))
