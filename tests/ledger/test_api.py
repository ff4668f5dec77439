"""The ledger's HTTP contract: statuses, bodies, headers, statement counts."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.ledger.models import Account, Transaction
from tests.factories import UserFactory, client_of
from tests.ledger.factories import AccountFactory, deposit, transfer, withdraw
from tests.ledger.requests import ask, url
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db
AUTHENTICATION = 1


class TestAccounts:
    def test_opens_an_empty_account(self, client):
        response = client.post("/api/v1/accounts/", {"currency": "EUR", "name": "Holiday"})

        assert response.status_code == 201
        account = Account.objects.get()
        assert response.headers["Location"] == url(account)
        assert response.json() == {
            "id": str(account.pk),
            "name": "Holiday",
            "currency": "EUR",
            "balance": "0.00",
            "status": "open",
            "version": 0,
            "created_at": response.json()["created_at"],
        }
        assert account.pk.version == 7

    def test_both_fields_are_optional(self, client):
        assert client.post("/api/v1/accounts/").json()["currency"] == "USD"

    @pytest.mark.parametrize(
        "body",
        [{"currency": "usd"}, {"currency": "XAU"}, {"currency": 840}, {"name": 5}, {"name": "x" * 101}, {"name": None}],
    )
    def test_refuses_what_is_no_currency_or_name(self, client, body):
        assert_problem(client.post("/api/v1/accounts/", body), 400, "invalid_request")
        assert not Account.objects.exists()

    def test_its_etag_changes_with_whatever_it_shows(self, client, user):
        opened = client.post("/api/v1/accounts/", {"name": "Holiday"})
        account = Account.objects.get()
        changes = {
            "nothing": lambda: None,
            "balance": lambda: deposit(account, "5.00"),
            "name": lambda: client.patch(url(account), {"name": "Rent"}),
            "name back": lambda: client.patch(url(account), {"name": "Holiday"}),
            "balance back": lambda: withdraw(account, "5.00"),
            "status": lambda: client.post(url(account, "close")),
        }
        seen = {}
        for what, change in changes.items():
            change()
            response = client.get(url(account))
            seen[what] = response.headers["ETag"]
            assert client.get(url(account), headers={"If-None-Match": seen[what]}).status_code == 304

        assert seen["nothing"] == opened.headers["ETag"]
        # A version never comes back, so no state does; a name may, and then it is the same representation.
        assert seen.pop("name back") == seen["balance"]
        assert len(set(seen.values())) == len(seen)

    def test_every_answer_that_shows_an_account_has_the_same_etag(self, client, user):
        opened = client.post("/api/v1/accounts/", {"name": "Holiday"})
        place = opened.headers["Location"]

        assert opened.headers["ETag"] == client.get(place).headers["ETag"] == client.head(place).headers["ETag"]
        renamed = client.patch(place, {"name": "Rent"})
        assert renamed.headers["ETag"] == client.get(place).headers["ETag"]
        closed = client.post(f"{place}close/")
        assert closed.headers["ETag"] == client.get(place).headers["ETag"]

    def test_lists_the_callers_accounts_newest_first(self, client, user):
        accounts = [AccountFactory(owner=user) for _ in range(3)]
        AccountFactory()

        with CaptureQueriesContext(connection) as queries:
            page = client.get("/api/v1/accounts/", {"limit": 2}).json()

        assert len(queries) - AUTHENTICATION <= 2
        assert [row["id"] for row in page["results"]] == [str(accounts[2].pk), str(accounts[1].pk)]
        last = client.get(page["next"]).json()
        assert [row["id"] for row in last["results"]] == [str(accounts[0].pk)]
        assert last["next"] is None
        assert client.get(last["previous"]).json()["results"] == page["results"]

    def test_a_yen_has_no_cents_and_a_dinar_has_three(self, client, user):
        for currency, amount in (("JPY", "100"), ("KWD", "1.000"), ("CLF", "0.0001")):
            account = AccountFactory(owner=user, currency=currency, funded=amount)
            assert client.get(url(account)).json()["balance"] == amount

    def test_closes_an_empty_account_twice(self, client, user):
        account = AccountFactory(owner=user)

        for _ in range(2):
            response = client.post(url(account, "close"))
            assert (response.status_code, response.json()["status"]) == (200, "closed")

        assert_problem(ask(client, account, "deposits", amount="1.00"), 422, "account_closed")

    def test_does_not_close_an_account_with_money_in_it(self, client, account):
        assert_problem(client.post(url(account, "close")), 422, "account_not_empty")


class TestRenaming:
    def test_gives_another_name_and_changes_nothing_else(self, client, account):
        before = client.get(url(account)).json()

        response = client.patch(url(account), {"name": "  Rent  "})

        assert (response.status_code, response.json()) == (200, before | {"name": "Rent"})
        assert client.get(url(account)).json() == response.json()

    def test_an_empty_name_is_none(self, client, account):
        client.patch(url(account), {"name": "Rent"})

        assert client.patch(url(account), {"name": ""}).json()["name"] == ""

    def test_a_closed_account_too(self, client, user):
        account = AccountFactory(owner=user, shut=True)

        response = client.patch(url(account), {"name": "Old"})

        assert (response.status_code, response.json()["name"], response.json()["status"]) == (200, "Old", "closed")

    @pytest.mark.parametrize("body", [{}, {"name": None}, {"name": 5}, {"name": "x" * 101}, {"name": ["x"]}])
    def test_refuses_what_is_no_name(self, client, account, body):
        assert_problem(client.patch(url(account), body), 400, "invalid_request")

    @pytest.mark.parametrize("field", ["balance", "currency", "status", "version", "owner", "idempotency_key"])
    def test_changes_nothing_but_the_name(self, client, account, field):
        assert_problem(client.patch(url(account), {"name": "Rent", field: "1"}), 400, "unknown_field")
        account.refresh_from_db()
        assert account.name == ""

    def test_only_what_the_client_has_seen(self, client, account):
        seen = client.get(url(account)).headers["ETag"]
        deposit(account, "1.00")

        assert_problem(client.patch(url(account), {"name": "Rent"}, headers={"If-Match": seen}), 412, PRECONDITION)
        account.refresh_from_db()
        assert account.name == ""
        seen = client.get(url(account)).headers["ETag"]
        assert client.patch(url(account), {"name": "Rent"}, headers={"If-Match": seen}).status_code == 200
        assert_problem(client.patch(url(account), {"name": "Food"}, headers={"If-Match": seen}), 412, PRECONDITION)

    def test_a_condition_is_the_last_thing_that_is_looked_at(self, client, account):
        """RFC 9110 §13.2.1: what would fail without it fails as it would."""
        stale = {"If-Match": '"stale"'}

        assert_problem(client.patch(url(account), {"name": 5}, headers=stale), 400, "invalid_request")
        assert_problem(client_of(UserFactory()).patch(url(account), {"name": "x"}, headers=stale), 404, "not_found")


PRECONDITION = "precondition_failed"


class TestOpeningOnce:
    ACCOUNTS = "/api/v1/accounts/"

    def open(self, client, body=None, key="k"):
        return client.post(self.ACCOUNTS, body or {}, headers={"Idempotency-Key": key})

    def test_the_same_key_and_body_are_the_same_account(self, client):
        first = self.open(client, {"name": "Holiday"})
        again = self.open(client, {"name": "Holiday"})

        assert (first.status_code, first.headers.get("Idempotent-Replayed")) == (201, None)
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == first.json()
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["ETag"] == first.headers["ETag"]
        assert Account.objects.count() == 1

    def test_what_is_the_same_command_is_the_same_body(self, client):
        first = self.open(client)

        for body in ({"currency": "USD"}, {"name": ""}, {"name": "", "currency": "USD"}, {"name": "  "}):
            assert self.open(client, body).json() == first.json()

    @pytest.mark.parametrize("body", [{"currency": "EUR"}, {"name": "holiday"}, {"name": "Holiday", "currency": "EUR"}])
    def test_the_same_key_and_another_body_are_a_bug_of_the_clients(self, client, body):
        self.open(client, {"name": "Holiday"})

        answer = self.open(client, body)

        assert_problem(answer, 422, "idempotency_key_reused")
        assert "Idempotent-Replayed" not in answer.headers
        assert Account.objects.count() == 1

    def test_a_replay_shows_the_account_as_it_is_now(self, client):
        place = self.open(client, {"name": "Holiday"}).headers["Location"]
        client.patch(place, {"name": "Rent"})
        client.post(f"{place}deposits/", {"amount": "5.00"}, headers={"Idempotency-Key": "k"})

        again = self.open(client, {"name": "Holiday"})

        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == client.get(place).json()
        assert (again.json()["name"], again.json()["balance"]) == ("Rent", "5.00")
        # What was asked for decides, not what it became.
        assert_problem(self.open(client, {"name": "Rent"}), 422, "idempotency_key_reused")
        client.post(f"{place}withdrawals/", {"amount": "5.00"}, headers={"Idempotency-Key": "l"})
        client.post(f"{place}close/")
        assert self.open(client, {"name": "Holiday"}).json()["status"] == "closed"

    def test_a_key_is_its_users(self, client):
        other = client_of(UserFactory())

        mine, theirs = self.open(client), self.open(other, {"currency": "EUR"})

        assert (mine.status_code, theirs.status_code) == (201, 201)
        assert mine.json()["id"] != theirs.json()["id"]
        assert "Idempotent-Replayed" not in theirs.headers

    def test_another_key_or_none_is_another_account(self, client):
        for _ in range(2):
            client.post(self.ACCOUNTS, {})
        self.open(client, key="k")
        self.open(client, key="K")

        assert Account.objects.count() == 4

    def test_what_is_refused_uses_up_no_key(self, client):
        assert_problem(self.open(client, {"currency": "nope"}), 400, "invalid_request")
        assert_problem(self.open(client, key="k,k"), 400, "idempotency_key_invalid")
        assert not Account.objects.exists()
        assert self.open(client).headers.get("Idempotent-Replayed") is None

    def test_the_key_is_told_to_nobody(self, client):
        assert "secret-key" not in self.open(client, key="secret-key").content.decode()


class TestMoney:
    def test_deposits(self, client, account):
        response = ask(client, account, "deposits", amount="25.5", currency="USD", reference="pay day")

        transaction = Transaction.objects.get(reference="pay day")
        assert response.status_code == 201
        assert response.headers["Location"] == f"/api/v1/transactions/{transaction.pk}/"
        assert "Idempotent-Replayed" not in response.headers
        assert response.json() == {
            "id": str(transaction.pk),
            "kind": "deposit",
            "status": "posted",
            "amount": "25.50",
            "currency": "USD",
            "source": None,
            "destination": str(account.pk),
            "reference": "pay day",
            "reverses": None,
            "created_at": response.json()["created_at"],
            "entry": {"sequence": 2, "amount": "25.50", "balance_after": "125.50"},
        }
        assert client.get(response.headers["Location"]).json() == response.json()

    def test_withdraws_and_transfers(self, client, account):
        other = AccountFactory()

        withdrawn = ask(client, account, "withdrawals", amount=25).json()
        moved = ask(client, account, "transfers", amount="5.00", destination=str(other.pk)).json()

        assert withdrawn["entry"] == {"sequence": 2, "amount": "-25.00", "balance_after": "75.00"}
        assert (withdrawn["source"], withdrawn["destination"]) == (str(account.pk), None)
        assert moved["entry"] == {"sequence": 3, "amount": "-5.00", "balance_after": "70.00"}
        payee = client_of(other.owner).get(f"/api/v1/transactions/{moved['id']}/").json()
        assert payee["entry"] == {"sequence": 1, "amount": "5.00", "balance_after": "5.00"}

    @pytest.mark.parametrize(("operation", "most"), [("deposits", 1), ("withdrawals", 1), ("transfers", 4)])
    def test_keeps_to_its_statements(self, client, account, operation, most):
        body = {"amount": "1.00"} | ({"destination": str(AccountFactory().pk)} if operation == "transfers" else {})

        with CaptureQueriesContext(connection) as queries:
            assert ask(client, account, operation, **body).status_code == 201

        print(f"{operation}: {len(queries) - AUTHENTICATION} statement(s) besides authentication")
        assert len(queries) - AUTHENTICATION <= most

    def test_replays_the_same_answer(self, client, account):
        first = ask(client, account, "withdrawals", key="k", amount="25.00")
        again = ask(client, account, "withdrawals", key="k", amount="25")

        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["Idempotent-Replayed"] == "true"
        account.refresh_from_db()
        assert account.balance == 75

    def test_replays_a_refusal_with_its_transaction(self, client, account):
        first = assert_problem(ask(client, account, "withdrawals", key="k", amount="500"), 422, "insufficient_funds")
        deposit(account, "1000.00")
        response = ask(client, account, "withdrawals", key="k", amount="500")
        again = assert_problem(response, 422, "insufficient_funds")

        assert response.headers["Idempotent-Replayed"] == "true"
        assert {**first, "request_id": ""} == {**again, "request_id": ""}
        declined = client.get(f"/api/v1/transactions/{first['transaction']}/").json()
        assert (declined["status"], declined["entry"]) == ("declined", None)

    def test_refuses_a_key_for_another_command(self, client, account):
        ask(client, account, "withdrawals", key="k", amount="1.00")

        assert_problem(ask(client, account, "withdrawals", key="k", amount="2.00"), 422, "idempotency_key_reused")
        assert_problem(ask(client, account, "deposits", key="k", amount="1.00"), 422, "idempotency_key_reused")

    @pytest.mark.parametrize(
        ("currency", "body"),
        [
            ("USD", {"amount": "1.001"}),
            ("USD", {"amount": "1.001", "currency": "USD"}),
            ("CLF", {"amount": "1.00001"}),
            ("CLF", {"amount": "1.00001", "currency": "CLF"}),
        ],
    )
    def test_never_rounds(self, client, user, currency, body):
        account = AccountFactory(owner=user, currency=currency)

        problem = assert_problem(ask(client, account, "deposits", **body), 400, "invalid_request")

        assert problem["errors"][0]["code"] == "max_decimal_places"
        assert not Transaction.objects.exists()

    def test_refuses_what_a_transfer_cannot_reach(self, client, user, account):
        cases = [
            (account.pk, 422, "same_account"),
            (uuid.uuid4(), 422, "destination_invalid"),
            (AccountFactory(currency="EUR").pk, 422, "currency_mismatch"),
            (AccountFactory(shut=True).pk, 422, "account_closed"),
            ("{" + str(account.pk) + "}", 400, "invalid_request"),
            (1, 400, "invalid_request"),
        ]
        for destination, status, code in cases:
            response = ask(client, account, "transfers", amount="1.00", destination=destination)
            assert_problem(response, status, code)
        assert Transaction.objects.filter(status="declined").count() == 2

    def test_takes_the_largest_amount(self, client, account):
        response = ask(client, account, "deposits", amount="1000000000.00")
        assert response.json()["entry"]["balance_after"] == "1000000100.00"

    def test_holds_the_largest_balance_and_refuses_the_smallest_unit_more(self, client, user, settings):
        settings.MAX_AMOUNT = 10**16
        account = AccountFactory(owner=user, currency="CLF")

        full = ask(client, account, "deposits", amount="999999999999999.9999")
        problem = assert_problem(ask(client, account, "deposits", amount="0.0001"), 422, "balance_limit_exceeded")

        assert full.json()["entry"]["balance_after"] == "999999999999999.9999"
        assert client.get(f"/api/v1/transactions/{problem['transaction']}/").json()["status"] == "declined"

    def test_refuses_fields_it_does_not_know(self, client, account):
        problem = assert_problem(ask(client, account, "deposits", amount="1", balance="9"), 400, "unknown_field")
        assert problem["errors"][0]["field"] == "balance"


class TestStatement:
    def test_lists_posted_entries_newest_first(self, client, account):
        withdraw(account, "25.00", reference="rent")

        with CaptureQueriesContext(connection) as queries:
            page = client.get(url(account, "transactions")).json()

        assert len(queries) - AUTHENTICATION <= 2
        assert (page["next"], page["previous"]) == (None, None)
        newest = page["results"][0]
        assert newest == {
            "id": str(Transaction.objects.get(reference="rent").pk),
            "kind": "withdrawal",
            "sequence": 2,
            "amount": "-25.00",
            "balance_after": "75.00",
            "reference": "rent",
            "created_at": newest["created_at"],
        }

    def test_pages_stay_put_while_rows_are_added(self, client, account):
        for _ in range(9):
            deposit(account, "1.00")

        page = client.get(url(account, "transactions"), {"limit": 3}).json()
        seen = [row["sequence"] for row in page["results"]]
        while page["next"]:
            deposit(account, "1.00")
            page = client.get(page["next"]).json()
            seen += [row["sequence"] for row in page["results"]]

        assert seen == list(range(10, 0, -1))

    def test_filters(self, client, account):
        withdraw(account, "25.00")
        withdraw(account, "5.00")
        cut = Transaction.objects.order_by("id").last().created_at
        cases = [
            ({"kind": "deposit"}, [1]),
            ({"min_amount": "25.00"}, [2, 1]),
            ({"max_amount": "25"}, [3, 2]),
            ({"min_amount": "10", "max_amount": "30"}, [2]),
            ({"created_from": cut.isoformat()}, [3]),
            ({"created_from": f"{cut:%Y-%m-%dt%H:%M:%S.%fz}"}, [3]),
            ({"created_to": cut.isoformat()}, [2, 1]),
            ({"created_from": (timezone.now() + timedelta(days=1)).isoformat()}, []),
        ]
        for query, expected in cases:
            response = client.get(url(account, "transactions"), query)
            assert [row["sequence"] for row in response.json()["results"]] == expected, query

    def test_a_version_that_was_seen_is_a_number(self, client, account):
        page = client.get(url(account, "transactions"), headers={"Min-Version": "1"})
        assert [row["sequence"] for row in page.json()["results"]] == [1]

        refused = client.get(url(account, "transactions"), headers={"Min-Version": "one"})
        assert_problem(refused, 400, "invalid_parameter")
        assert [error["field"] for error in refused.json()["errors"]] == ["Min-Version"]


class TestReversal:
    def test_staff_send_the_money_back_once(self, client, account, staff):
        other = AccountFactory()
        original = transfer(account, other, "10.00").transaction
        path = f"/api/v1/transactions/{original.pk}/reversal/"

        response = client_of(staff).post(path, headers={"Idempotency-Key": "undo"})
        again = client_of(staff).post(path, headers={"Idempotency-Key": "undo"})

        body = response.json()
        assert response.status_code == 201
        assert (body["kind"], body["reverses"], body["amount"]) == ("reversal", str(original.pk), "10.00")
        assert (body["source"], body["destination"]) == (str(other.pk), str(account.pk))
        assert body["entry"]["amount"] == "-10.00"
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (body, "true")
        account.refresh_from_db()
        assert account.balance == 100
        problem = client_of(staff).post(path, headers={"Idempotency-Key": "undo-again"})
        assert_problem(problem, 422, "already_reversed")
        reversal = f"/api/v1/transactions/{body['id']}/reversal/"
        assert_problem(client_of(staff).post(reversal, headers={"Idempotency-Key": "r"}), 422, "not_reversible")

    def test_others_may_not_even_of_their_own(self, client, account):
        mine, theirs = deposit(account, "1.00"), AccountFactory(funded="1.00").transactions.get()

        for transaction, status, code in ((mine.transaction, 403, "permission_denied"), (theirs, 404, "not_found")):
            path = f"/api/v1/transactions/{transaction.pk}/reversal/"
            assert_problem(client.post(path, headers={"Idempotency-Key": "u"}), status, code)

    def test_needs_the_money_to_be_there(self, account, staff):
        original = deposit(account, "50.00").transaction
        withdraw(account, "150.00")

        response = client_of(staff).post(
            f"/api/v1/transactions/{original.pk}/reversal/", headers={"Idempotency-Key": "u"}
        )

        assert_problem(response, 422, "insufficient_funds")


class TestStrangers:
    def test_learn_nothing_and_change_nothing(self, account):
        stranger = client_of(UserFactory())
        transaction = account.transactions.get()
        nobody = Account(pk=uuid.uuid4())

        def visible(response):
            return response.status_code, {**response.json(), "request_id": "", "instance": ""}

        for operation, body in (
            ("deposits", {"amount": "1"}),
            ("withdrawals", {"amount": "1"}),
            ("transfers", {"amount": "1", "destination": str(account.pk)}),
            ("close", {}),
        ):
            foreign, missing = (ask(stranger, place, operation, **body) for place in (account, nobody))
            assert visible(foreign) == visible(missing)
            assert_problem(foreign, 404, "not_found")
        for path in (url(account), url(account, "transactions"), f"/api/v1/transactions/{transaction.pk}/"):
            missing = path.replace(str(account.pk), str(nobody.pk)).replace(str(transaction.pk), str(nobody.pk))
            assert visible(stranger.get(path)) == visible(stranger.get(missing))
            assert_problem(stranger.get(path), 404, "not_found")
        assert Transaction.objects.count() == 1

    def test_a_payee_sees_no_declined_transfer(self, account):
        payee = AccountFactory()
        response = ask(client_of(account.owner), account, "transfers", amount="900", destination=str(payee.pk))
        declined = response.json()["transaction"]

        assert client_of(payee.owner).get(f"/api/v1/transactions/{declined}/").status_code == 404
