"""Pages of the books in the admin, in a real browser."""

import pytest

from tests.ledger.factories import AccountFactory, deposit

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_the_admin_shows_the_books_and_changes_none(visit, superuser):
    account = AccountFactory()
    transaction = deposit(account, "100.00").transaction

    visit.log_in_to_admin(superuser.username)

    pages = {
        "account": account.pk,
        "transaction": transaction.pk,
        "entry": transaction.entries.get().pk,
    }
    for model, key in pages.items():
        assert str(account.pk) in visit.open(f"/admin/ledger/{model}/")
        assert len(visit.all("#result_list tbody tr")) == 1
        assert visit.all("#content .addlink, [name=action], [name=_save]") == []
        assert "100.00" in visit.open(f"/admin/ledger/{model}/{key}/change/")
        assert visit.all(".submit-row input, .deletelink, fieldset input, fieldset select, fieldset textarea") == []
    visit.assert_nothing_was_refused_or_foreign()
