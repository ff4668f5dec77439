"""Scrapes of a server's /metrics, as Prometheus makes them."""

from http.client import HTTPConnection

from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import Address
from tests.support.patience import HANG_S

Series = tuple[str, frozenset[tuple[str, str]]]


def scrape(address: Address) -> str:
    connection = HTTPConnection(*address, timeout=HANG_S)
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
