"""An id is the same id in either case, in a URL as in a body."""

import pytest

from tests.factories import new_idempotency_key
from tests.support.endpoints import ENDPOINTS, READS, ApiWorld

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db) -> ApiWorld:
    return ApiWorld()


def written(world: ApiWorld, template: str, write) -> str:
    for name, value in world.names.items():
        template = template.replace(f"{{{name}}}", write(value))
    return template


SPELLINGS = {"capitals": str.upper, "both": lambda value: value[:20].upper() + value[20:]}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", [name for name, endpoint in ENDPOINTS.items() if "{" in endpoint.path])
def test_an_operation_is_the_same_one(world, name, spelling):
    path = written(world, ENDPOINTS[name].path, SPELLINGS[spelling])

    assert world.call(name, path=path).status_code in {200, 201}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("path", READS)
def test_what_is_read_is_the_same(world, path, spelling):
    found = world.send("GET", written(world, path, SPELLINGS[spelling]))

    assert found.status_code == 200
    assert found.json() == world.send("GET", path).json()


def test_a_retry_in_another_spelling_is_the_same_command(world):
    key = new_idempotency_key()
    small, large = world.names["empty"], world.names["empty"].upper()
    first = world.call("transfer", world.body("transfer", destination=small), HTTP_IDEMPOTENCY_KEY=key)

    again = world.call(
        "transfer",
        world.body("transfer", destination=large),
        path=written(world, ENDPOINTS["transfer"].path, str.upper),
        HTTP_IDEMPOTENCY_KEY=key,
    )

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]


def test_a_cursor_is_good_for_its_list_in_another_spelling(world):
    statement = "/api/v1/accounts/{account}/transactions/"
    world.call("deposit")
    following = world.send("GET", f"{statement}?limit=1").json()["next"].partition("?")[2]

    small = world.send("GET", f"{statement}?{following}")
    large = world.send("GET", written(world, statement, str.upper) + f"?{following}")

    assert (small.status_code, large.status_code) == (200, 200)
    assert large.json()["results"] == small.json()["results"]


def test_a_transfer_to_itself_in_another_spelling_is_one(world):
    world.refused(
        422, "same_account", world.call, "transfer", world.body("transfer", destination=world.names["account"].upper())
    )
