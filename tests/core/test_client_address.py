"""Client addresses as proxies write them, and their keys in the limits: API login, admin login, request throttle."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from apps.core.client_address import NO_ADDRESS, rate_limit_key
from tests.factories import PASSWORD, UserFactory
from tests.support.api import log_in
from tests.support.problems import assert_problem

V4, V6 = "203.0.113.7", "2001:db8:0:1::/64"

SPELLINGS = {
    # A port, which the client chooses.
    "203.0.113.7:50001": V4,
    "203.0.113.7:0": V4,
    "203.0.113.7:": V4,
    "203.0.113.7:_hidden": V4,
    "[2001:db8:0:1::1]:443": V6,
    "[2001:db8:0:1::1]:00443": V6,
    "[2001:db8:0:1::1]:_hidden": V6,
    "[2001:db8:0:1::1]": V6,
    "2001:db8:0:1:2:3:4:5:50001": V6,
    "2001:db8:0:1::5:50001": V6,
    "2001:db8:0:1:::443": V6,
    "[203.0.113.7]:443": V4,
    # A zone, which is the proxy's own name for an interface.
    "2001:db8:0:1::1%eth0": V6,
    "[2001:db8:0:1::1%eth0]:443": V6,
    "[2001:db8:0:1::1%25eth0]:443": V6,
    "2001:db8:0:1::1%": V6,
    # RFC 7239 quotes what has a colon, and white space stands round the commas.
    '"203.0.113.7:50001"': V4,
    '"[2001:db8:0:1::1]:443"': V6,
    ' "203.0.113.7" ': V4,
    "\t203.0.113.7\t": V4,
    # Case and zeros.
    "2001:DB8:0:1::ABCD": V6,
    "2001:0db8:0000:0001:0000:0000:0000:0001": V6,
    "203.000.113.007": V4,
    "203.0.113.007:050": V4,
    # IPv4 in IPv6.
    "::ffff:203.0.113.7": V4,
    "::FFFF:CB00:7107": V4,
    "[::ffff:203.0.113.7]:50001": V4,
    "::ffff:203.0.113.7:50001": V4,
    "::ffff:203.000.113.007": V4,
    "64:ff9b::203.0.113.7": V4,
    "64:ff9b::cb00:7107": V4,
    "2002:cb00:7107:1::1": V4,
    "2002:cb00:7107:ffff::1": V4,
    "2001:0:4136:e378:8000:63bf:34ff:8ef8": V4,
}
NO_ADDRESSES = [
    "",
    " ",
    '""',
    "unknown",
    "UNKNOWN",
    "unknown:50001",
    "_hidden",
    "_SEVKISEK:50001",
    "unix:",
    "-",
    "localhost",
    "[]",
    "[]:443",
    "[",
    "]:443",
    ":443",
    "%eth0",
    "203.0.113",
    "203.0.113.7.1",
    "203.0.113.256",
    "203.0.113.7/24",
    "203.0.113.-7",
    "203.0.113.\xb2",
    "0xcb007107",
    "3405803783",
    "for=203.0.113.7",
    "2001:db8::::1",
    "\x00",
    "\ud800",
    "1" * 8000,
    ":" * 8000,
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=ascii)
def test_has_one_subscriber_however_it_is_written(spelling):
    assert rate_limit_key(spelling) == SPELLINGS[spelling]


@pytest.mark.parametrize("text", NO_ADDRESSES, ids=lambda text: ascii(text)[:30])
def test_what_is_no_address_is_one_subscriber(text):
    assert rate_limit_key(text) == NO_ADDRESS


def test_addresses_of_two_are_not_one():
    addresses = ["203.0.113.7", "203.0.113.8", "2001:db8:0:1::1", "2001:db8:0:2::1", "64:ff9b::203.0.113.9", "::1"]

    assert len({rate_limit_key(address) for address in [*addresses, "unknown"]}) == len(addresses) + 1


PORTS = [f"203.0.113.7:{port}" for port in range(50_001, 50_013)]
PORTS_OF_A_NETWORK = [f"[2001:db8:0:1::{port}]:{port}" for port in range(5001, 5013)]
ANYTHING = ["unknown", "", "_hidden", "a", "b", "_SEVKISEK:1", '"unknown"', "unix:", "1.2.3", "[", "x" * 100, "-"]


@pytest.mark.django_db
@pytest.mark.parametrize("forwarded", [PORTS, PORTS_OF_A_NETWORK, ANYTHING], ids=["ports", "IPv6 ports", "no address"])
class TestBehindAProxy:
    @pytest.fixture(autouse=True)
    def _one_proxy(self, settings):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}

    def test_the_login_limit_holds(self, user, forwarded):
        told = [
            log_in(user.username, "wrong", headers={"X-Forwarded-For": f"198.51.100.{number}, {each}"}).status_code
            for number, each in enumerate(forwarded)
        ]

        assert told == [400] * 10 + [429] * 2
        assert log_in(user.username, headers={"X-Forwarded-For": f"{forwarded[0]}, 198.51.100.1"}).status_code == 200

    def test_the_admins_login_limit_holds(self, forwarded):
        root = UserFactory(is_staff=True, is_superuser=True)
        form = {"username": root.username, "password": "wrong"}

        told = [
            Client().post("/admin/login/", form, headers={"X-Forwarded-For": each}).status_code for each in forwarded
        ]

        assert told == [200] * 10 + [429] * 2
        assert log_in(root.username, PASSWORD, headers={"X-Forwarded-For": forwarded[-1]}).status_code == 429

    def test_the_limit_on_changing_a_password_holds(self, client, forwarded):
        guess = {"current_password": "wrong", "new_password": "a quite different phrase"}

        told = [
            client.post("/api/v1/users/me/password/", guess, headers={"X-Forwarded-For": each}) for each in forwarded
        ]

        assert [each.status_code for each in told] == [400] * 10 + [429] * 2

    def test_the_throttle_holds(self, limit, clock, forwarded):
        limit(anonymous=3)

        told = [APIClient().get("/api/v1/users/me/", headers={"X-Forwarded-For": each}) for each in forwarded]

        assert [each.status_code for each in told] == [401] * 3 + [429] * 9
        assert_problem(told[-1], 429, "throttled")


@pytest.mark.django_db
def test_entries_are_counted_from_the_end_with_the_empty_ones(user, settings):
    """What a proxy of ours has written is where it stands: to skip an empty entry would believe one of the client's."""
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}

    told = [
        log_in(user.username, "wrong", headers={"X-Forwarded-For": f"203.0.113.{number}, "}).status_code
        for number in range(12)
    ]

    assert told == [400] * 10 + [429] * 2
