"""Close an account."""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, Func

from apps.ledger.errors import AccountNotEmpty
from apps.ledger.models import Account
from apps.ledger.posting import retried


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseAccount:
    """Close an empty account for good; closing it twice is closing it once.

    Refuses: NotFound for another's account; AccountNotEmpty; Contention where the lock is not had in time.
    Locks: the account's row, so that no deposit slips in between the look and the closing.
    """

    owner_id: UUID
    account_id: UUID

    @retried
    @transaction.atomic(durable=True)
    def execute(self) -> Account:
        account = Account.objects.owned_by(self.owner_id).select_for_update(no_key=True).get_or_refuse(self.account_id)
        if account.is_closed:
            return account
        if account.balance:
            raise AccountNotEmpty
        # The database's clock, under the lock: no entry of the account can have a later time.
        now = Func(function="clock_timestamp", output_field=DateTimeField())
        Account.objects.filter(pk=account.pk).update(status=Account.Status.CLOSED, closed_at=now)
        account.refresh_from_db()
        return account
