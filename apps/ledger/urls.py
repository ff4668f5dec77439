"""The paths of the bank, under /api/v1/, readable aloud."""

from django.urls import path

from apps.ledger.views import (
    AccountsView,
    AccountView,
    CloseView,
    DepositsView,
    ReversalView,
    StatementView,
    TransactionView,
    TransfersView,
    WithdrawalsView,
)

urlpatterns = [
    path("accounts/", AccountsView.as_view(), name="accounts"),
    path("accounts/<uuid:account_id>/", AccountView.as_view(), name="account"),
    path("accounts/<uuid:account_id>/close/", CloseView.as_view(), name="close"),
    path("accounts/<uuid:account_id>/deposits/", DepositsView.as_view(), name="deposits"),
    path("accounts/<uuid:account_id>/withdrawals/", WithdrawalsView.as_view(), name="withdrawals"),
    path("accounts/<uuid:account_id>/transfers/", TransfersView.as_view(), name="transfers"),
    path("accounts/<uuid:account_id>/transactions/", StatementView.as_view(), name="statement"),
    path("transactions/<uuid:transaction_id>/", TransactionView.as_view(), name="transaction"),
    path("transactions/<uuid:transaction_id>/reversal/", ReversalView.as_view(), name="reversal"),
]
