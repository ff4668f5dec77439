"""Example traffic of the ledger: customers with two accounts who deposit, withdraw, transfer, read and repeat requests."""

import random
import uuid

from devtools.example_traffic import Customer, WeightedActions


class Activity:
    """What a customer does with two accounts."""

    def __init__(self, customer: Customer, rng: random.Random) -> None:
        self._customer = customer
        self._rng = rng
        self._accounts: list[str] = []
        self.weighted_actions: WeightedActions = (
            (25, self._read_statement),
            (20, lambda: self._move_random_amount("withdrawals")),
            (15, lambda: self._move_random_amount("deposits")),
            (15, self._transfer),
            (10, self._read_account),
            (6, self._repeat_a_withdrawal),
            (3, self._withdraw_too_much),
            (2, self._transfer_to_the_same_account),
            (1, self._read_unknown_account),
        )

    def begin(self) -> None:
        """Open two accounts with 1000.00 each."""
        for name in ("Everyday", "Savings"):
            account = self._customer.send("POST", "/api/v1/accounts/", {"currency": "USD", "name": name})["id"]
            self._accounts.append(account)
            self._move(account, "deposits", "1000.00")

    def _read_statement(self) -> None:
        self._customer.send(
            "GET", f"/api/v1/accounts/{self._account()}/transactions/?limit={self._rng.choice([5, 50])}"
        )

    def _read_account(self) -> None:
        self._customer.send("GET", f"/api/v1/accounts/{self._account()}/")

    def _move_random_amount(self, resource: str) -> None:
        self._move(self._account(), resource, self._amount())

    def _transfer(self) -> None:
        source, destination = self._rng.sample(self._accounts, 2)
        self._move(source, "transfers", self._amount(), destination=destination)

    def _repeat_a_withdrawal(self) -> None:
        """Send one withdrawal twice, as a client does whose first response was lost."""
        account, key = self._account(), str(uuid.uuid4())
        self._move(account, "withdrawals", "1.00", key)
        self._move(account, "withdrawals", "1.00", key)

    def _withdraw_too_much(self) -> None:
        self._move(self._account(), "withdrawals", "999999.00")

    def _transfer_to_the_same_account(self) -> None:
        account = self._account()
        self._move(account, "transfers", self._amount(), destination=account)

    def _read_unknown_account(self) -> None:
        self._customer.send("GET", f"/api/v1/accounts/{uuid.uuid4()}/")

    def _move(self, account: str, resource: str, amount: str, key: str = "", **more: str) -> None:
        body = {"amount": amount, **more}
        self._customer.send("POST", f"/api/v1/accounts/{account}/{resource}/", body, key=key or str(uuid.uuid4()))

    def _account(self) -> str:
        return self._rng.choice(self._accounts)

    def _amount(self) -> str:
        return f"{self._rng.randint(1, 2000) / 100:.2f}"
