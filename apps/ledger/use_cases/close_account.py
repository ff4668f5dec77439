"""Closing an account."""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, Func

from apps.core.contention import retry_on_contention
from apps.ledger.errors import AccountNotEmpty
from apps.ledger.models import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseAccount:
    """Close an empty account for good; closing a closed account changes nothing.

    Raises: NotFound for another user's account; AccountNotEmpty; Contention at a lock timeout.
    Locks: the account's row, so that no deposit is posted between the check and the closing.
    """

    owner_id: UUID
    account_id: UUID

    @retry_on_contention
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
