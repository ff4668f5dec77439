"""The OpenAPI document names the answers of a money operation."""

import yaml

from tests.support.paths import OPENAPI_DOCUMENT


def test_a_withdrawal_names_its_problems():
    paths = yaml.safe_load(OPENAPI_DOCUMENT.read_text())["paths"]
    responses = paths["/api/v1/accounts/{account_id}/withdrawals/"]["post"]["responses"]

    assert {"201", "400", "401", "404", "409", "413", "415", "422", "429"} <= responses.keys()
    assert "insufficient_funds" in responses["422"]["description"]
    assert "idempotency_key_missing" in responses["400"]["description"]
