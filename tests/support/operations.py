"""Declarations of an app's operations, for the generic tests: `tests/<app>/endpoints.py` fills them in as `APP`.

Access matrix (tests/config/test_access.py), bad input (tests/core/test_bad_input.py), statement counts
(tests/core/test_query_counts.py), throttling, conditions and fuzzing (tests/live/test_fuzz.py) read them through
tests/support/endpoints.py. Paths and bodies name objects in braces, `{account}`: `AppOperations.create_objects` makes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from apps.users.models import User


@dataclass(frozen=True)
class BadValues:
    """Values of a field that are refused with one error about this field.

    code: the error's, where all share one. several: whether there may be more than one error, all about this field.
    """

    field: str
    values: Sequence[Any]
    code: str | None = None
    several: bool = False


@dataclass(frozen=True)
class Endpoint:
    """An operation that takes a body, and a request that it honours.

    who: whose token is sent, `ada` or `staff`; None where none is needed.
    optional: whether an empty body is honoured, too.
    text_fields: the fields of one line of text, with their greatest lengths.
    """

    path: str
    body: dict[str, Any]
    who: str | None = "ada"
    optional: bool = False
    method: str = "POST"
    idempotency_key: Literal["required", "optional"] | None = None
    takes_forms: bool = False
    text_fields: Mapping[str, int] = field(default_factory=dict)
    bad_values: Sequence[BadValues] = ()


@dataclass(frozen=True)
class Operation:
    """An operation of docs/openapi.yaml: a request, and what is true of it.

    statements: SQL statements after the one that finds the caller by the token.
    is_prepared: whether a connection parses each of them once, that one included (apps.database.prepared).
    endpoint: the name of the endpoint that it is; method and path where it takes no body.
    own_parameters: query strings that a list refuses besides those that every list refuses.
    kills_token: whether the token that is sent is dead afterwards.
    refusals: codes of problems, or of their fields, that requests get which the schema allows: the state decides them.
    """

    statements: int
    method: str = "POST"
    path: str = ""
    endpoint: str = ""
    is_list: bool = False
    is_prepared: bool = False
    own_parameters: Sequence[str] = ()
    kills_token: bool = False
    refusals: frozenset[str] = frozenset()


def create_nothing(owner: User) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class AppOperations:
    """An app's part of the generic tests.

    access: a table of statuses by URL name, method and caller; its first line is `tests.support.endpoints.CALLERS`.
    create_objects: makes the objects that paths and bodies name, for this owner; returns their ids by name.
    add_rows: makes one more row wherever a statement a row would show.
    tables_of_failures: tables that a refused request may write.
    known_values: makes more objects for fuzzing, and returns values by Schemathesis's name of a parameter or a field of
        bodies, `body.destination`. One object of each parameter of a path is known already, by `create_objects`.
    answers: by name, a request to the app with a status that no other answer of tests/support/responses.py has; it takes a
        client and pytest's monkeypatch, and returns the status and the response.
    """

    access: str
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    operations: Mapping[str, Operation] = field(default_factory=dict)
    create_objects: Callable[[User], dict[str, str]] = create_nothing
    add_rows: Callable[[User], object] = create_nothing
    tables_of_failures: Sequence[str] = ()
    known_values: Callable[[User], Mapping[str, Sequence[str]]] = create_nothing
    answers: Mapping[str, Callable[[Any, Any], tuple[int, Any]]] = field(default_factory=dict)
