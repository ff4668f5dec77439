"""The ledger's check in `manage.py housekeeping --verify`."""

import logging

import pytest
from django.core.management import call_command

from apps.core import housekeeping
from apps.ledger.models import Account
from tests.ledger.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_books_that_balance_are_no_finding():
    AccountFactory(funded="100.00")

    assert housekeeping.checks["ledger"]() == []


def test_books_that_do_not_balance_fail_the_command(caplog):
    account = AccountFactory(funded="100.00")
    Account.objects.filter(pk=account.pk).update(balance=101)

    with pytest.raises(SystemExit) as exit_, caplog.at_level(logging.INFO):
        call_command("housekeeping", "--verify")

    assert exit_.value.code == 4
    (line,) = (record for record in caplog.records if record.msg == "Verification failed")
    (check,) = (check for check in line.checks if check["name"] == "ledger")
    assert [finding.split()[0] for finding in check["findings"]] == ["I1", "I7"]
