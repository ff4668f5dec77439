"""Renaming an account."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from apps.core.contention import retry_on_contention
from apps.ledger.models import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameAccount:
    """Change an account's name, also a closed one's, which its owner still reads. The version counts entries and stays.

    precondition: raises if the account has changed since the client read it.
    Raises: NotFound for another user's account; what the precondition raises; Contention at a lock timeout.
    Locks: the account's row, so that no command changes it between the precondition and the renaming.
    """

    owner_id: UUID
    account_id: UUID
    name: str
    precondition: Callable[[Account], object]

    @retry_on_contention
    @transaction.atomic(durable=True)
    def execute(self) -> Account:
        account = Account.objects.owned_by(self.owner_id).select_for_update(no_key=True).get_or_refuse(self.account_id)
        self.precondition(account)
        account.name = self.name
        account.save(update_fields=["name"])
        return account
