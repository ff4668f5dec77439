"""README's requests, run as they stand against a live server."""

import pytest

from tests.support.readme import run_requests

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_no_request_is_refused(server):
    printed = run_requests(server.address)

    assert '"username": "ada"' in printed.replace('":"', '": "')
    # Each problem has one.
    assert "request_id" not in printed
