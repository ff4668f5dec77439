"""The arbiter's metrics, as Prometheus sees them: read from the page's own port, while the workers come and go."""

import re
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.client import Address, Client, Request
from tests.live.conftest import database_url
from tests.live.server import Server

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "metrics.md"
Series = tuple[str, frozenset[tuple[str, str]]]


def scrape(address: Address) -> str:
    connection = HTTPConnection(*address, timeout=10)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200
        return text
    finally:
        connection.close()


def read(text: str) -> dict[Series, float]:
    """Return the value of every series."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def fresh(django_db_setup, django_db_blocker, tmp_path_factory):
    """A server that was asked for nothing but /ping/, and its first scrape."""
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    with django_db_blocker.unblock():
        url = database_url()
    with Server(url, log, workers=2, threads=2, REVISION="f" * 40) as server:
        yield server, scrape(server.metrics_address)


def declared() -> dict[str, tuple[str, dict[str, set[str]]]]:
    """Read docs/metrics.md: for each name of ours its type and its labels' values."""
    rows = [[cell.strip() for cell in line.split("|")] for line in PAGE.read_text().splitlines() if "| `bank_" in line]
    return {
        name.strip("`"): (
            kind,
            {
                label: set(re.findall(r"`([^`]+)`", values))
                for label, values in re.findall(r"`(\w+)`(?:: ([^;]*))?(?:;|$)", labels)
            },
        )
        for _, name, kind, labels, *_ in rows
    }


def test_every_series_of_the_page_is_there_before_the_first_request_and_no_other(fresh):
    _, text = fresh
    told = {
        (family.name + "_total" if family.type == "counter" else family.name): family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("bank_")
    }

    assert told.keys() == declared().keys()
    for name, (kind, labels) in declared().items():
        family = told[name]
        assert family.type == kind
        seen: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    seen.setdefault(label, set()).add(value)
        assert seen == labels | ({"version": {"f" * 40}} if "version" in labels else {}), name


def test_the_public_port_knows_nothing_of_metrics(fresh):
    server, _ = fresh
    with Client(server.address, token=None) as client:
        answer = client.send(Request("GET", "/metrics"))

    assert (answer.status, answer.code) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"
