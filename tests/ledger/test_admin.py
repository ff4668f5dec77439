"""Admin of the ledger: it shows the books and changes nothing."""

from django.test import Client

from tests.factories import client_of


def test_admin_shows_the_books_and_changes_nothing(staff, account):
    staff.is_superuser = True
    staff.save()
    browser = Client()
    browser.force_login(staff)
    entry, transaction = account.entries.get(), account.transactions.get()
    for model, row in (("account", account), ("transaction", transaction), ("entry", entry)):
        assert browser.get(f"/admin/ledger/{model}/").status_code == 200
        assert browser.get(f"/admin/ledger/{model}/{row.pk}/change/").status_code == 200
        for page in (f"{row.pk}/change/", f"{row.pk}/delete/", "add/"):
            assert browser.post(f"/admin/ledger/{model}/{page}", {"balance": "1000000"}).status_code == 403
    account.refresh_from_db()
    assert account.balance == 100
    assert browser.get("/api/v1/accounts/").status_code == 401, "a session does not open the API"
    assert client_of(staff).get("/api/v1/accounts/").status_code == 200
