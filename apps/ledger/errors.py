"""Domain errors of the ledger. Those under `Declined` are recorded under the idempotency key and replay."""

from typing import ClassVar
from uuid import UUID

from apps.core.errors import DomainError, ErrorKind, InvalidField


class Declined(DomainError):
    """The state of the books does not allow it; a declined transaction records that, so a retry gets the same answer."""

    kind = ErrorKind.REFUSED
    extension_schema: ClassVar = {
        "transaction": {
            "type": "string",
            "format": "uuid",
            "description": "The declined transaction that records this refusal.",
        }
    }
    transaction_id: UUID | None = None

    @property
    def extensions(self) -> dict[str, str]:
        return {"transaction": str(self.transaction_id)} if self.transaction_id else {}


class InsufficientFunds(Declined):
    """The paying account holds less than the amount."""

    code = "insufficient_funds"
    detail = "The balance does not cover this amount."


class AccountClosed(Declined):
    """One of the accounts is closed; closed accounts neither pay nor receive."""

    code = "account_closed"
    detail = "The account is closed."


class CurrencyMismatch(Declined):
    """Amount and accounts are not all in one currency; nothing is ever converted."""

    code = "currency_mismatch"
    detail = "The currencies differ, and nothing is converted."


class BalanceLimitExceeded(Declined):
    """The receiving account would exceed `apps.core.money.amounts.MAX_VALUE`."""

    code = "balance_limit_exceeded"
    detail = "The receiving account cannot hold so much."


class NotReversible(Declined):
    """Only a posted deposit, withdrawal or transfer can be reversed."""

    code = "not_reversible"
    detail = "A declined transaction or a reversal cannot be reversed."


class AlreadyReversed(Declined):
    """A transaction is reversed at most once."""

    code = "already_reversed"
    detail = "The transaction has been reversed already."


DECLINES: dict[str, type[Declined]] = {declined.code: declined for declined in Declined.__subclasses__()}


class CurrencyWithdrawn(InvalidField):
    """ISO 4217 has withdrawn the code: accounts in it go on, and no new one is opened."""

    def __init__(self, *, currency: str) -> None:
        super().__init__(
            field="currency",
            field_code="invalid_choice",
            message=f"No account is opened in {currency}, which ISO 4217 has withdrawn.",
        )


class SameAccount(DomainError):
    """A transfer needs two accounts."""

    kind = ErrorKind.REFUSED
    code = "same_account"
    detail = "Source and destination are the same account."


class DestinationInvalid(DomainError):
    """The destination of a transfer does not exist."""

    kind = ErrorKind.REFUSED
    code = "destination_invalid"
    detail = "The destination is not an account."


class AccountNotEmpty(DomainError):
    """An account can be closed only when its balance is zero."""

    kind = ErrorKind.REFUSED
    code = "account_not_empty"
    detail = "Only an empty account can be closed."
