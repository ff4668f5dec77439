"""Read-only admin pages of the ledger: money moves through the use cases only, so nothing can be edited here."""

from django.contrib import admin

from apps.core.admin import ReadOnlyAdmin
from apps.ledger.models import Account, Entry, Transaction


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts with their balances."""

    list_display = ("id", "owner", "name", "currency", "balance", "status", "version", "created_at")
    list_filter = ("status", "currency")
    list_select_related = ("owner",)
    search_fields = ("id", "owner__username")
    ordering = ("-id",)


@admin.register(Transaction)
class TransactionAdmin(ReadOnlyAdmin):
    """Transactions, declined ones included."""

    list_display = ("id", "kind", "status", "decline_code", "amount", "currency", "account_id", "created_at")
    list_filter = ("kind", "status", "decline_code")
    search_fields = ("id", "account__id", "idempotency_key")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    """Entries, which never change."""

    list_display = ("account_id", "sequence", "amount", "balance_after", "transaction_id", "created_at")
    search_fields = ("account__id", "transaction__id")
    ordering = ("-id",)
    show_full_result_count = False
