"""Ledger models: accounts, money commands with their outcomes (transactions), and the entries of the posted ones.

- An **Account** holds its balance and a version that counts its entries.
- A **Transaction** is a command and its outcome: posted or declined. A source or destination of null is the world
  outside the bank, so a deposit has no source and a withdrawal no destination.
- An **Entry** is one leg of a posted transaction on one account. It is append-only, and its sequence is the account's
  version after the move: gap-free and in the order of the commits, so it is also the cursor of the statement.

The rules are constraints with sentences for names, and triggers in a migration; `posting` is the only writer. The module is
longer than 250 lines because the three tables and their constraints are read together.

Note [One shard an account]
Every row carries its account's id and commands find their rows by it, so that the tables can be distributed by account.
What crosses accounts, and would have to change then:

- An entry's foreign key to its transaction, which stands under the account in the URL.
- The foreign keys to users: an account's owner, a transaction's creator.
- A transaction's foreign key to the one that it reverses: of the same account, so it can have the account beside it.
- The primary keys of transactions and entries, which become (account, id).
- The key of opening an account, unique by owner: the account's id is not known before.

Source and destination are ids without a database constraint, checked when they are written. An entry has its
transaction's kind and reference, so that a statement reads one table. tests/ledger/test_shardable.py holds this list, and
runs every command on the keys of distributed tables.
"""

from typing import ClassVar, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from uuid_utils.compat import uuid7

from apps.core.creation import CreatedOnce
from apps.core.money.models import currency_field, currency_is_an_iso_code, money_field
from apps.core.querysets import OwnedQuerySet, RefusingQuerySet


class AccountQuerySet(OwnedQuerySet["Account"]):
    """Accounts."""


class Account(CreatedOnce):
    """What a customer holds, in one currency."""

    class Status(models.TextChoices):
        """Whether money may move."""

        OPEN = "open"
        CLOSED = "closed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="accounts", db_index=False
    )
    name = models.CharField(max_length=100, blank=True)
    currency = currency_field()
    balance = money_field(default=0)
    version = models.BigIntegerField(default=0)
    status = models.CharField(max_length=6, choices=Status, default=Status.OPEN)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = AccountQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [models.Index("owner", F("id").desc(), name="account_by_owner_newest_first")]
        constraints: ClassVar = [
            *CreatedOnce.Meta.constraints,
            models.CheckConstraint(condition=Q(balance__gte=0), name="account_balance_is_never_negative"),
            models.CheckConstraint(condition=Q(version__gte=0), name="account_version_is_never_negative"),
            models.CheckConstraint(condition=Q(status="open") | Q(balance=0), name="closed_account_is_empty"),
            models.CheckConstraint(
                condition=Q(status="open", closed_at=None) | Q(status="closed", closed_at__isnull=False),
                name="account_is_closed_exactly_when_it_has_a_closing_time",
            ),
            currency_is_an_iso_code("account_currency_is_an_iso_code"),
        ]

    def __str__(self) -> str:
        return f"{self.currency} account {self.pk}"

    @property
    def is_closed(self) -> bool:
        return self.status == self.Status.CLOSED


class TransactionQuerySet(RefusingQuerySet["Transaction"]):
    """Transactions by the users that may see them."""

    def visible_to(self, user_id: UUID) -> Self:
        """Transactions requested on this user's accounts, and posted ones that reached them.

        A declined one never touched its destination, whose owner must not learn of it.
        """
        own = Account.objects.owned_by(user_id).values("pk")
        reached = Q(status=Transaction.Status.POSTED) & (Q(source_id__in=own) | Q(destination_id__in=own))
        return self.filter(Q(account__in=own) | reached)

    def with_entries(self) -> Self:
        """Fetch the entries and their accounts in one more statement."""
        entries = Entry.objects.select_related("account")
        return self.prefetch_related(models.Prefetch("entries", entries))


class Transaction(models.Model):
    """A money command and its outcome; the idempotency key is a column of it and never expires."""

    class Kind(models.TextChoices):
        """The requested operation."""

        DEPOSIT = "deposit"
        WITHDRAWAL = "withdrawal"
        TRANSFER = "transfer"
        REVERSAL = "reversal"

    class Status(models.TextChoices):
        """The outcome, which never changes."""

        POSTED = "posted"
        DECLINED = "declined"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="transactions", db_index=False, help_text="The one in the URL."
    )
    idempotency_key = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, choices=Kind)
    status = models.CharField(max_length=8, choices=Status)
    decline_code = models.CharField(max_length=30, blank=True)
    # See Note [One shard an account].
    source_id = models.UUIDField(null=True, blank=True)
    destination_id = models.UUIDField(null=True, blank=True)
    amount = money_field()
    currency = currency_field()
    reference = models.CharField(max_length=140, blank=True)
    reverses = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="reversals", db_index=False
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField()

    objects = TransactionQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("account", "idempotency_key", name="idempotency_key_is_used_once_per_account"),
            models.UniqueConstraint(
                "account", "reverses", condition=Q(status="posted"), name="transaction_is_reversed_at_most_once"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="transaction_amount_is_positive"),
            models.CheckConstraint(
                condition=Q(source_id__isnull=False) | Q(destination_id__isnull=False),
                name="transaction_has_a_source_or_a_destination",
            ),
            models.CheckConstraint(
                condition=Q(source_id=None) | Q(destination_id=None) | ~Q(source_id=F("destination_id")),
                name="transaction_source_and_destination_differ",
            ),
            models.CheckConstraint(
                # A comparison with null is null, and a CHECK that is null passes: null is therefore excluded explicitly.
                condition=Q(source_id__isnull=False, source_id=F("account"))
                | Q(destination_id__isnull=False, destination_id=F("account")),
                name="transaction_touches_the_account_it_was_asked_of",
            ),
            models.CheckConstraint(
                condition=Q(kind="deposit", source_id=None)
                | Q(kind="withdrawal", destination_id=None)
                | Q(kind="transfer", source_id__isnull=False, destination_id__isnull=False)
                | Q(kind="reversal"),
                name="transaction_kind_agrees_with_its_sides",
            ),
            models.CheckConstraint(
                condition=Q(kind="reversal", reverses__isnull=False) | (~Q(kind="reversal") & Q(reverses=None)),
                name="reversal_exactly_when_it_reverses_a_transaction",
            ),
            models.CheckConstraint(
                condition=Q(status="declined") & ~Q(decline_code="") | Q(status="posted", decline_code=""),
                name="declined_exactly_when_there_is_a_decline_code",
            ),
            currency_is_an_iso_code("transaction_currency_is_an_iso_code"),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.kind} {self.pk}"

    def entry_for(self, user_id: UUID) -> "Entry | None":
        """Return the entry on the user's account; the source's where both or neither are the user's; None when declined."""
        entries = sorted(self.entries.all(), key=lambda entry: entry.amount)
        own = [entry for entry in entries if entry.account.owner_id == user_id]
        return next(iter(own or entries), None)


class Entry(models.Model):
    """The signed amount by which one posted transaction changed one account. Never updated, never deleted.

    kind, reference: its transaction's. See Note [One shard an account].
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    transaction = models.ForeignKey(Transaction, on_delete=models.PROTECT, related_name="entries", db_index=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries", db_index=False)
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=10, choices=Transaction.Kind)
    amount = money_field()
    balance_after = money_field()
    reference = models.CharField(max_length=140, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "entries"
        constraints: ClassVar = [
            models.UniqueConstraint("account", "sequence", name="entry_sequence_is_used_once_per_account"),
            models.UniqueConstraint("transaction", "account", name="transaction_enters_an_account_once"),
            models.CheckConstraint(condition=Q(sequence__gte=1), name="entry_sequence_starts_at_one"),
            models.CheckConstraint(condition=~Q(amount=0), name="entry_amount_is_not_zero"),
            models.CheckConstraint(condition=Q(balance_after__gte=0), name="entry_balance_is_never_negative"),
            models.CheckConstraint(
                condition=Q(kind="deposit", amount__gt=0)
                | Q(kind="withdrawal", amount__lt=0)
                | Q(kind__in=["transfer", "reversal"]),
                name="entry_kind_agrees_with_its_sign",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} on {self.account_id}"
