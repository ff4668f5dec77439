"""Import contracts of the ledger fail when they are broken."""

import pytest

from tests.support.import_contracts import assert_contracts_break


@pytest.mark.slow
def test_import_contracts_fail_when_they_are_broken(tmp_path):
    assert_contracts_break(
        tmp_path,
        {
            "apps/users/passwords.py": "import apps.ledger.errors\n",
            "apps/ledger/models.py": "import apps.ledger.views\n",
            "apps/ledger/use_cases/deposit.py": "import apps.ledger.use_cases.withdraw\n",
            "apps/ledger/admin.py": "import apps.ledger.posting\n",
            "apps/ledger/views.py": "import apps.ledger.posting\n",
            "apps/ledger/posting.py": "import apps.ledger.gate\n",
            "apps/ledger/utils.py": "",
        },
    )
