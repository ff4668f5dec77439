"""URL paths of the ledger, below /api/v1/."""

from django.urls import path

from apps.core import converters  # noqa: F401  registers canonical_uuid
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
    path("accounts/<canonical_uuid:account_id>/", AccountView.as_view(), name="account"),
    path("accounts/<canonical_uuid:account_id>/close/", CloseView.as_view(), name="close"),
    path("accounts/<canonical_uuid:account_id>/deposits/", DepositsView.as_view(), name="deposits"),
    path("accounts/<canonical_uuid:account_id>/withdrawals/", WithdrawalsView.as_view(), name="withdrawals"),
    path("accounts/<canonical_uuid:account_id>/transfers/", TransfersView.as_view(), name="transfers"),
    path("accounts/<canonical_uuid:account_id>/transactions/", StatementView.as_view(), name="statement"),
    path("transactions/<canonical_uuid:transaction_id>/", TransactionView.as_view(), name="transaction"),
    path("transactions/<canonical_uuid:transaction_id>/reversal/", ReversalView.as_view(), name="reversal"),
]
