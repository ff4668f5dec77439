"""The OpenAPI document is complete, committed and servable."""

from io import StringIO

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver

from tests.support.endpoints import OPERATIONS
from tests.support.paths import OPENAPI_DOCUMENT


@pytest.mark.no_cover  # It would take twice the time.
def test_is_the_committed_one():
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)

    assert out.getvalue().strip() == OPENAPI_DOCUMENT.read_text().strip(), "make schema"


def test_names_every_operation_and_its_problems():
    schema = yaml.safe_load(OPENAPI_DOCUMENT.read_text())
    operations = {
        (method.upper(), path): operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert {operation["operationId"] for operation in operations.values()} == OPERATIONS.keys()
    for (method, path), operation in operations.items():
        responses = operation["responses"]
        assert {"400", "406", "500", "503"} <= responses.keys(), (method, path)
        assert ("404" in responses) == ("{" in path), (method, path)
        for status, response in responses.items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (method, path, status)


def test_is_served_with_a_user_interface_of_our_own(db):
    assert Client().get("/schema/").status_code == 200
    page = Client().get("/schema/swagger-ui/").content.decode()
    assert "swagger-ui-bundle" in page
    assert "cdn." not in page
    assert "//" not in page.replace("http://testserver", "").replace("://www.w3.org", "")


def test_every_url_of_the_contract_is_there():
    prefixes = {str(pattern.pattern) for pattern in get_resolver().url_patterns}
    assert {"api/token/", "api/v1/", "schema/", "schema/swagger-ui/", "admin/"} <= prefixes
