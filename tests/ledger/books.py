"""What must be true of the books after anything whatever."""

from django.db.models import Count, Max, Sum, Window
from django.db.models.functions import Coalesce

from apps.ledger.models import Account, Entry, Transaction


def assert_books_balance() -> None:
    """Check every account against its entries and every transaction against its legs."""
    for account in Account.objects.annotate(
        total=Coalesce(Sum("entries__amount"), 0, output_field=Account._meta.get_field("balance")),
        count=Count("entries"),
        last=Coalesce(Max("entries__sequence"), 0),
    ):
        assert account.balance == account.total >= 0
        assert account.version == account.count == account.last
    running = Entry.objects.annotate(
        running=Window(Sum("amount"), partition_by="account", order_by="sequence"),
    )
    assert not [entry for entry in running if entry.running != entry.balance_after]
    legs = {"deposit": 1, "withdrawal": 1, "transfer": 2}
    for transaction in Transaction.objects.prefetch_related("entries"):
        entries = list(transaction.entries.all())
        if transaction.status == "declined":
            assert not entries
            continue
        sides = [transaction.source_id, transaction.destination_id]
        assert {entry.account_id for entry in entries} == {side for side in sides if side}
        assert len(entries) == legs.get(transaction.kind, len(entries))
        assert all(abs(entry.amount) == transaction.amount for entry in entries)
        assert all((entry.amount < 0) == (entry.account_id == transaction.source_id) for entry in entries)
