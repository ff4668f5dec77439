"""Bad input that only the ledger's operations can get: numbers in the place of amounts, and cursors of its lists."""

import pytest

from tests.ledger.endpoints import ACCOUNTS, MONEY, STATEMENT
from tests.support.endpoints import ENDPOINTS, ApiWorld

# Not counted for coverage, which would take twice the time for the same lines again and again.
pytestmark = [pytest.mark.django_db, pytest.mark.no_cover]


@pytest.fixture(scope="module")
def world(for_all) -> ApiWorld:
    return for_all(ApiWorld)


@pytest.mark.parametrize(
    "number", ["1e3", "1E3", "1.0", "1.00", "-0.0", "1e400", "1e-400", "1e99999999", "0.1e1", "1." + "0" * 5000]
)
def test_a_json_number_with_a_fraction_or_an_exponent(world, number):
    """It may have lost digits before it was sent."""
    for endpoint in MONEY:
        body = world.body(endpoint).replace(b'"1.00"', number.encode())

        world.refused(400, "invalid_request", world.call, endpoint, body)


EMPTY_STATEMENT = STATEMENT.replace("{account}", "{empty}")


@pytest.fixture(scope="module")
def cursors(world, for_all) -> dict[str, str]:
    """A good cursor of each of Ada's lists, and one of another user's accounts."""

    def cursor(place: str, **request: str) -> str:
        following = world.send("GET", f"{place}?limit=1", **request).json()["next"]
        return following.partition("cursor=")[2].partition("&")[0]

    def fill() -> dict[str, str]:
        for _ in range(2):
            world.call("deposit")
            world.call("deposit", path=ENDPOINTS["deposit"].path.replace("account}", "empty}"))
            world.call("open", who="staff")
        mine = {place: cursor(place) for place in (ACCOUNTS, STATEMENT, EMPTY_STATEMENT)}
        return {**mine, "another user's": cursor(ACCOUNTS, who="staff")}

    return for_all(fill)


def tampered(good: str, *, other_lists: str, other_users: str) -> dict[str, str]:
    """Return manipulated copies of valid cursors, which are `position:time:signature`."""
    return {
        "nothing": "",
        "a word": "x",
        "NUL": "%00",
        "bytes that are not UTF-8": "%FF%FE",
        "digits of another script": "%D9%A1",
        "only its signature": "%3A" + good.rpartition("%3A")[2],
        "no signature": good.rpartition("%3A")[0],
        "a shortened signature": good[:-2],
        "a longer signature": good + "A",
        "another first letter": "B" + good[1:],
        "in capitals": good.upper(),
        "a NUL behind it": good + "%00",
        "a date in DRF's own form": "cD0yMDI2LTAxLTAx",
        "SQL in DRF's own form": "cD0nOyBEUk9QIFRBQkxFIHg7LS0=",
        "thousands of letters": "W" * 3000,
        "another list's": other_lists,
        "another user's": other_users,
        "itself for other filters": good + "&max_amount=1000",
    }


@pytest.mark.parametrize("place", [ACCOUNTS, STATEMENT])
@pytest.mark.parametrize("kind", tampered("", other_lists="", other_users=""))
def test_a_cursor_that_was_not_made_for_this_list(world, cursors, place, kind):
    good = cursors[place]
    other_list = STATEMENT if place == ACCOUNTS else EMPTY_STATEMENT
    sent = tampered(good, other_lists=cursors[other_list], other_users=cursors["another user's"])[kind]
    code = "invalid_parameter" if place == ACCOUNTS and "&" in sent else "invalid_cursor"

    assert sent != good
    assert world.send("GET", f"{place}?cursor={good}").status_code == 200
    world.refused(400, code, world.send, "GET", f"{place}?cursor={sent}")
