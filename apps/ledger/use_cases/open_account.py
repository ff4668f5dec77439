"""Opening an account."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import OperationalError, transaction
from psycopg import errors as postgres

from apps.core import idempotency
from apps.core.idempotency import IdempotencyKeyReused
from apps.ledger.contention import lock_timeout_error, retry_on_contention
from apps.ledger.errors import CurrencyWithdrawn
from apps.ledger.metrics import REPLAYS
from apps.ledger.models import Account
from apps.ledger.money import CURRENT
from apps.ledger.receipts import Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount:
    """Open an empty account for a user; its currency never changes. With an idempotency key, once per key of the user's.

    Raises: CurrencyWithdrawn; IdempotencyKeyReused; IdempotencyKeyInProgress where a request under the key runs for
    longer than the lock timeout; Contention at any other lock timeout.
    Locks: the user's row against its deletion, by the foreign key.
    """

    owner_id: UUID
    currency: str
    name: str
    idempotency_key: str | None = None
    now: datetime

    @retry_on_contention
    def execute(self) -> Opening:
        account = Account(owner_id=self.owner_id, currency=self.currency, name=self.name, created_at=self.now)
        if self.idempotency_key is not None:
            return self._open_once(account, self.idempotency_key)
        if self.currency not in CURRENT:
            raise CurrencyWithdrawn(currency=self.currency)
        account.save(force_insert=True)
        return Opening(account=account)

    def _open_once(self, account: Account, key: str) -> Opening:
        account.idempotency_key = key
        account.opening_fingerprint = idempotency.fingerprint({"currency": self.currency, "name": self.name})
        if self.currency in CURRENT:
            self._insert_unless_key_is_used(account, key)
        # A replay shows what was opened under the key, also where its currency has been withdrawn since.
        stored = Account.objects.owned_by(self.owner_id).filter(idempotency_key=key).first()
        if stored is None:
            raise CurrencyWithdrawn(currency=self.currency)
        if stored.opening_fingerprint != account.opening_fingerprint:
            raise IdempotencyKeyReused
        replayed = stored.pk != account.pk
        if replayed:
            REPLAYS.labels("opening").inc()
        return Opening(account=stored, replayed=replayed)

    def _insert_unless_key_is_used(self, account: Account, key: str) -> None:
        try:
            with transaction.atomic(durable=True):
                idempotency.mark(scope=self.owner_id, key=key)
                # ON CONFLICT DO NOTHING waits for a row under the key that is not committed yet.
                Account.objects.bulk_create([account], ignore_conflicts=True)
        except OperationalError as error:
            cause = error.__cause__
            if not isinstance(cause, postgres.LockNotAvailable):
                raise
            # An insert waits for a row of its own table only where that has the same key.
            waited_for_key = Account._meta.db_table in (cause.diag.context or "")  # noqa: SLF001  public in spite of its name
            raise lock_timeout_error(self.owner_id, key, waited_for_key=waited_for_key) from error
