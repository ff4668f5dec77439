"""Stateful test: for random sequences of requests, the API answers and books as `reference_model` does.

A step is one HTTP request and a look at all rows, a few milliseconds, so parsing, statuses, codes
and replays are held to the model along with the money. Every step commits, as it does in production.
"""

from collections import Counter
from dataclasses import astuple, dataclass, replace
from decimal import Decimal
from itertools import accumulate
from uuid import UUID

import hypothesis
import pytest
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from apps.ledger.models import Account, Entry, Transaction
from tests.factories import UserFactory, client_of
from tests.ledger import reference_model as model
from tests.ledger.assertions import assert_books_balance
from tests.ledger.reference_model import EXPONENTS, MAX_AMOUNT, MAX_BALANCE, Answer, Ask, Bank

PATHS = {"deposit": "deposits", "withdrawal": "withdrawals", "transfer": "transfers"}
NOBODY = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Means:
    """The inputs for choosing an amount: the currency's smallest unit, the payer's balance, the receiver's room."""

    unit: Decimal
    balance: Decimal
    room: Decimal


AMOUNTS = {
    "some": lambda it: 700 * it.unit,
    "a unit": lambda it: it.unit,
    "every place written": lambda it: Decimal(7).quantize(it.unit),
    "all of it": lambda it: it.balance,
    "a unit too much": lambda it: it.balance + it.unit,
    "what fits": lambda it: it.room // it.unit * it.unit,
    "a unit more than fits": lambda it: it.room // it.unit * it.unit + it.unit,
    "the most": lambda _: MAX_AMOUNT,
    "more than the most": lambda it: MAX_AMOUNT + it.unit,
    "too fine": lambda it: it.unit / 10,
    "nothing": lambda _: Decimal(0),
}

OUTCOMES = {
    "200",
    "201",
    "201 replayed",
    "invalid_request",
    "not_found",
    "permission_denied",
    "same_account",
    "destination_invalid",
    "account_not_empty",
    "idempotency_key_reused",
    "not_reversible",
    "already_reversed",
    "currency_mismatch",
    "account_closed",
    "insufficient_funds",
    "insufficient_funds replayed",
    "balance_limit_exceeded",
}

actors = st.sampled_from(["its owner"] * 15 + ["ada", "bob", "staff"])
keys = st.integers(0, 30).map("key-{}".format)
references = st.sampled_from(["", "", "rent", "ümlaut"])
IN_A_WORD = {"amount": "some", "currency": None, "reference": ""}
words = st.fixed_dictionaries(
    {
        "amount": st.sampled_from(["some"] * 5 + list(AMOUNTS)),
        "currency": st.sampled_from([None] * 4 + ["its own"] * 4 + list(EXPONENTS)),
        "key": keys,
        "reference": references,
    }
)


class BankMachine(RuleBasedStateMachine):
    accounts = Bundle("accounts")
    asks = Bundle("asks")

    # By the names of the users, whom all runs share.
    users: dict = {}
    clients: dict = {}
    outcomes: Counter = Counter()

    def __init__(self):
        super().__init__()
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE ledger_entry, ledger_transaction, ledger_account")
        self.bank = Bank()
        self.ids = {"nobody": NOBODY}  # of accounts by their names in the model, and of transactions by their slots
        self.answers = {}  # the first one that was given under each slot
        self.rows = snapshot()

    # --- What customers do -------------------------------------------------------------------------------------------

    @initialize(target=accounts)
    def start(self):
        names = [self.opened(*account) for account in (("ada", "USD"), ("bob", "USD"), ("ada", "CLF"))]
        for name in names:
            self.asked("its owner", "deposit", name, IN_A_WORD | {"key": "first"})
        return multiple(*names)

    @rule(target=accounts, owner=st.sampled_from(["ada", "bob", "staff"]), currency=st.sampled_from(sorted(EXPONENTS)))
    def open(self, owner, currency):
        return self.opened(owner, currency)

    @rule(target=asks, actor=actors, kind=st.sampled_from(["deposit", "withdrawal"]), account=accounts, words=words)
    def pay_in_or_out(self, actor, kind, account, words):
        return self.asked(actor, kind, account, words)

    @rule(
        target=asks,
        actor=actors,
        account=accounts,
        destination=accounts | accounts | accounts | st.just("nobody"),
        words=words,
    )
    def transfer(self, actor, account, destination, words):
        return self.asked(actor, "transfer", account, words, destination)

    @rule(target=asks, actor=st.sampled_from(["staff"] * 4 + ["ada", "bob"]), ask=asks, key=keys, reference=references)
    def reverse(self, actor, ask, key, reference):
        slot = (ask.account, ask.key)
        return self.moves(
            Ask(actor=actor, kind="reversal", account=slot[0], key=key, reference=reference, original=slot)
        )

    @rule(ask=asks)
    def say_it_again(self, ask):
        self.moves(ask)

    @rule(ask=asks)
    def say_the_same_in_other_words(self, ask):
        account = self.bank.accounts[ask.account]
        unit = unit_of(account.currency)
        if ask.kind != "reversal" and ask.amount == ask.amount.quantize(unit):
            self.moves(replace(ask, amount=ask.amount.quantize(unit), currency=ask.currency or account.currency))

    @rule(
        ask=asks,
        change=st.sampled_from(["kind", "reference", "currency", "amount", "actor"]),
        currency=st.sampled_from(sorted(EXPONENTS)),
    )
    def say_something_else_under_the_same_key(self, ask, change, currency):
        changed = {
            "kind": {"kind": "withdrawal" if ask.kind == "deposit" else "deposit", "destination": None},
            "reference": {"reference": f"{ask.reference}!"},
            "currency": {"currency": currency},
            "amount": {"amount": ask.amount + unit_of(currency)},
            "actor": {"actor": "bob" if ask.actor == "ada" else "ada"},
        }
        if ask.kind != "reversal" or change in {"reference", "actor"}:
            self.moves(replace(ask, **changed[change]))

    @rule(account=accounts, actor=actors, emptied=st.booleans())
    def close(self, account, actor, emptied):
        if emptied:
            self.asked("its owner", "withdrawal", account, IN_A_WORD | {"key": "last", "amount": "all of it"})
        actor = self.named(actor, account)
        self.checked(self.bank.close(actor, account), self.post(actor, f"accounts/{self.ids[account]}/close/"))

    # --- How it is asked, and what must be true of the answer --------------------------------------------------------

    def named(self, actor, account):
        return self.bank.accounts[account].owner if actor == "its owner" else actor

    def opened(self, owner, currency):
        name = f"account-{len(self.bank.accounts) + 1}"
        response = self.post(owner, "accounts/", currency=currency)
        self.bank.accounts[name] = model.Account(owner, currency)
        self.ids[name] = response.json()["id"]
        self.checked(Answer(201), response)
        return name

    def asked(self, actor, kind, name, words, destination=None):
        account = self.bank.accounts[name]
        receiver = self.bank.accounts.get(destination, account)
        means = Means(unit_of(account.currency), account.balance, MAX_BALANCE - receiver.balance)
        ask = Ask(
            actor=self.named(actor, name),
            kind=kind,
            account=name,
            key=words["key"],
            amount=AMOUNTS[words["amount"]](means),
            currency=account.currency if words["currency"] == "its own" else words["currency"],
            reference=words["reference"],
            destination=destination,
        )
        return self.moves(ask)

    def moves(self, ask):
        if ask.kind == "reversal":
            path, body = f"transactions/{self.ids[ask.original]}/reversal/", {}
        else:
            path = f"accounts/{self.ids[ask.account]}/{PATHS[ask.kind]}/"
            body = {"amount": f"{ask.amount:f}"}
        body |= {"destination": self.ids[ask.destination]} if ask.destination else {}
        body |= {"currency": ask.currency} if ask.currency else {}
        body |= {"reference": ask.reference} if ask.reference else {}
        answer = self.bank.move(ask)
        self.checked(answer, self.post(ask.actor, path, ask.key, **body), ask)
        # Only what is recorded can be reversed, replayed or stand in the way of another command.
        return ask if answer.slot else multiple()

    def post(self, actor, path, key="", **body):
        headers = {"Idempotency-Key": key} if key else {}
        return self.clients[actor].post(f"/api/v1/{path}", body, headers=headers)

    def checked(self, answer, response, ask=None):
        body = response.json()
        code = "" if response.status_code < 300 else body["code"]
        assert (response.status_code, code) == (answer.status, answer.code)
        assert ("Idempotent-Replayed" in response.headers) == answer.replayed
        self.outcomes[f"{answer.code or answer.status}{' replayed' * answer.replayed}"] += 1
        if answer.replayed:
            assert without_request_id(body) == self.answers[answer.slot]
        elif answer.slot:
            self.answers[answer.slot] = without_request_id(body)
            self.ids[answer.slot] = body["transaction"] if answer.code else body["id"]
            if not answer.code:
                self.check_receipt(body, self.bank.recorded[answer.slot][0], ask.actor)
        self.check_rows(writes=not answer.replayed and bool(answer.slot or answer.status < 300))

    def check_receipt(self, body, command, actor):
        legs = self.bank.legs(command)
        name, amount = next((leg for leg in legs if self.bank.accounts[leg[0]].owner == actor), legs[0])
        account = self.bank.accounts[name]
        unit = unit_of(account.currency)
        expected = {
            "kind": command.kind,
            "status": "posted",
            "amount": str(command.amount.quantize(unit)),
            "currency": command.currency,
            "source": self.ids.get(command.source),
            "destination": self.ids.get(command.destination),
            "reference": command.reference,
            "reverses": self.ids.get(command.original),
            "entry": {
                "sequence": len(account.moves),
                "amount": str(amount.quantize(unit)),
                "balance_after": str(account.balance.quantize(unit)),
            },
        }
        assert body == expected | {"id": body["id"], "created_at": body["created_at"]}

    def check_rows(self, *, writes):
        """A step that records nothing leaves every row as it was; no step changes a transaction or an entry."""
        before, self.rows = self.rows, snapshot()
        if not writes:
            assert self.rows == before
        for table in (Transaction, Entry):
            assert self.rows[table].items() >= before[table].items()

    # --- What must be true at all times ------------------------------------------------------------------------------

    @invariant()
    def the_books_agree(self):
        names = {None: None} | {UUID(self.ids[name]): name for name in (*self.bank.accounts, *self.bank.recorded)}
        assert {
            names[pk]: (row["owner_id"], row["currency"], row["balance"], row["version"], row["status"])
            for pk, row in self.rows[Account].items()
        } == {
            name: (self.users[it.owner].pk, it.currency, it.balance, len(it.moves), "closed" if it.closed else "open")
            for name, it in self.bank.accounts.items()
        }
        assert {
            names[pk]: (
                row["kind"],
                names[row["source_id"]],
                names[row["destination_id"]],
                row["amount"],
                row["currency"],
                row["reference"],
                names[row["reverses_id"]],
                row["decline_code"],
            )
            for pk, row in self.rows[Transaction].items()
        } == {slot: (*astuple(command), code) for slot, (command, code) in self.bank.recorded.items()}
        assert {(row["account_id"], row["idempotency_key"]) for row in self.rows[Transaction].values()} == {
            (UUID(self.ids[account]), key) for account, key in self.bank.recorded
        }
        assert sorted(
            (names[row["account_id"]], row["sequence"], row["amount"], row["balance_after"])
            for row in self.rows[Entry].values()
        ) == sorted(
            (name, sequence, amount, balance)
            for name, it in self.bank.accounts.items()
            for sequence, (amount, balance) in enumerate(zip(it.moves, accumulate(it.moves), strict=True), start=1)
        )


def unit_of(currency):
    return Decimal(1).scaleb(-EXPONENTS[currency])


def without_request_id(body):
    """Return an answer without what names the request rather than the transaction."""
    return {name: value for name, value in body.items() if name != "request_id"}


def snapshot():
    return {table: {row["id"]: row for row in table.objects.values()} for table in (Account, Transaction, Entry)}


@pytest.fixture
def check(transactional_db, settings, seed):
    """Run the machine so many times with so many steps; the rest is the same for the short and the long test."""
    settings.MAX_AMOUNT = MAX_AMOUNT
    users = {name: UserFactory(is_staff=name == "staff") for name in ("ada", "bob", "staff")}

    class Machine(BankMachine):
        pass

    Machine.users, Machine.clients = users, {name: client_of(user) for name, user in users.items()}
    Machine.outcomes = Counter()

    def check(*, runs, steps):
        profile = hypothesis.settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A run costs a second: one failure made short is worth more than three that take minutes.
            report_multiple_bugs=False,
        )
        run_state_machine_as_test(hypothesis.seed(seed)(Machine), settings=profile)
        assert_books_balance()
        print(f"{runs} runs, {Machine.outcomes.total()} answers:", dict(Machine.outcomes.most_common()))
        return Machine.outcomes.keys()

    return check


@pytest.mark.no_cover  # It would take twice the time, to count the same ways again and again.
def test_the_bank_agrees_with_the_model(check):
    check(runs=4, steps=30)


@pytest.mark.long
def test_the_bank_agrees_with_the_model_at_length(check):
    assert check(runs=500, steps=50) >= OUTCOMES, "something that the model knows was left untried"
