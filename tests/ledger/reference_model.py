"""Reference model of the bank in plain Python, without SQL, HTTP or a clock; the state machine compares the API to it."""

from dataclasses import dataclass, field
from decimal import Decimal

EXPONENTS = {"USD": 2, "JPY": 0, "KWD": 3, "CLF": 4}
MAX_BALANCE = Decimal("999999999999999.9999")
# So near to the above that the two limits meet; the state machine sets it.
MAX_AMOUNT = Decimal(999_999_999_999_999)

Slot = tuple[str, str]
"""An account and an idempotency key, under which a transaction is recorded."""


@dataclass
class Account:
    owner: str
    currency: str
    moves: list[Decimal] = field(default_factory=list)
    closed: bool = False

    @property
    def balance(self) -> Decimal:
        return sum(self.moves, Decimal(0))


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A client's request; `original` is the slot of the transaction that a reversal is to undo."""

    actor: str
    kind: str
    account: str
    key: str
    amount: Decimal = Decimal(0)
    currency: str | None = None
    reference: str = ""
    destination: str | None = None
    original: Slot | None = None


@dataclass(frozen=True)
class Command:
    """The meaning of a request, independent of its spelling."""

    kind: str
    source: str | None
    destination: str | None
    amount: Decimal
    currency: str
    reference: str
    original: Slot | None


@dataclass(frozen=True)
class Answer:
    status: int
    code: str = ""
    slot: Slot | None = None
    """The slot under which the answer was recorded, now or (`replayed`) before."""
    replayed: bool = False


class Bank:
    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.recorded: dict[Slot, tuple[Command, str]] = {}

    def close(self, actor: str, name: str) -> Answer:
        account = self.accounts.get(name)
        if account is None or account.owner != actor:
            return Answer(404, "not_found")
        if account.balance:
            return Answer(422, "account_not_empty")
        account.closed = True
        return Answer(200)

    def move(self, ask: Ask) -> Answer:
        return self._reverse(ask) if ask.kind == "reversal" else self._move(ask)

    def _move(self, ask: Ask) -> Answer:
        if not 0 < ask.amount <= MAX_AMOUNT or places(ask.amount) > EXPONENTS.get(ask.currency or "", 4):
            return Answer(400, "invalid_request")
        account = self.accounts.get(ask.account)
        if account is None or account.owner != ask.actor:
            return Answer(404, "not_found")
        if ask.account == ask.destination:
            return Answer(422, "same_account")
        source = None if ask.kind == "deposit" else ask.account
        destination = ask.account if ask.kind == "deposit" else ask.destination
        currency = ask.currency or account.currency
        command = Command(ask.kind, source, destination, ask.amount, currency, ask.reference, None)
        return self._decide((ask.account, ask.key), command)

    def _reverse(self, ask: Ask) -> Answer:
        original, code = self.recorded[ask.original]
        touched = [ask.account] if code else [original.source, original.destination]
        if ask.actor != "staff":
            seen = any(side and self.accounts[side].owner == ask.actor for side in touched)
            return Answer(403, "permission_denied") if seen else Answer(404, "not_found")
        sides = original.destination, original.source
        command = Command("reversal", *sides, original.amount, original.currency, ask.reference, ask.original)
        return self._decide((ask.account, ask.key), command)

    def _decide(self, slot: Slot, command: Command) -> Answer:
        if slot in self.recorded:
            stored, code = self.recorded[slot]
            if stored != command:
                return Answer(422, "idempotency_key_reused")
            return Answer(422 if code else 201, code, slot, replayed=True)
        if command.destination and command.destination not in self.accounts:
            return Answer(422, "destination_invalid")
        if places(command.amount) > EXPONENTS[command.currency]:
            return Answer(400, "invalid_request")
        code = self._verdict(command)
        self.recorded[slot] = command, code
        for name, amount in [] if code else self.legs(command):
            self.accounts[name].moves.append(amount)
        return Answer(422 if code else 201, code, slot)

    def _verdict(self, command: Command) -> str:  # noqa: PLR0911  a rule a return, in their order
        source, destination = self.accounts.get(command.source), self.accounts.get(command.destination)
        sides = [side for side in (source, destination) if side]
        if command.original and (self.recorded[command.original][1] or self.recorded[command.original][0].original):
            return "not_reversible"
        if command.original and (command.original, "") in [(c.original, code) for c, code in self.recorded.values()]:
            return "already_reversed"
        if any(side.currency != command.currency for side in sides):
            return "currency_mismatch"
        if any(side.closed for side in sides):
            return "account_closed"
        if source and source.balance < command.amount:
            return "insufficient_funds"
        if destination and destination.balance + command.amount > MAX_BALANCE:
            return "balance_limit_exceeded"
        return ""

    @staticmethod
    def legs(command: Command) -> list[tuple[str, Decimal]]:
        """Return the accounts that a command touches and by how much, the payer first."""
        legs = [(command.source, -command.amount), (command.destination, command.amount)]
        return [(name, amount) for name, amount in legs if name]


def places(amount: Decimal) -> int:
    """Return the decimal places that an amount was written with."""
    return max(0, -amount.as_tuple().exponent)
