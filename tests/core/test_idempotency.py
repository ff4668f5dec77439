"""Idempotency keys: one grammar in the code and in the schema; fingerprints stay the same between releases."""

import re

import pytest

from apps.core.idempotency import (
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    fingerprint,
    optional_key,
    required_key,
)
from apps.core.openapi import key_parameter

SCHEMA = key_parameter(required=True).type


def is_taken(key: str) -> bool:
    try:
        return required_key({"Idempotency-Key": key}) == key
    except IdempotencyKeyInvalid:
        return False


def schema_has(key: str) -> bool:
    return SCHEMA["minLength"] <= len(key) <= SCHEMA["maxLength"] and bool(re.search(SCHEMA["pattern"], key))


def test_visible_ascii_but_the_comma():
    taken = {character for character in map(chr, range(0x250)) if is_taken(character)}

    assert taken == set(map(chr, range(0x21, 0x7F))) - {","}
    assert taken == {character for character in map(chr, range(0x250)) if schema_has(character)}


@pytest.mark.parametrize(
    "key", ["", "a", "a" * 255, "a" * 256, "a,b", "a b", "a\n", "-", "a-b", ".", "~", "]", "\\", "^"]
)
def test_the_schema_says_what_the_code_does(key):
    # In JavaScript and JSON Schema `$` is the end of the text and not of a line, as \Z is here.
    assert is_taken(key) == (schema_has(key) and not key.endswith("\n"))


def test_a_key_that_is_not_there_is_missing_only_where_it_is_needed():
    assert optional_key({}) is None
    with pytest.raises(IdempotencyKeyMissing):
        required_key({})
    with pytest.raises(IdempotencyKeyInvalid):
        optional_key({"Idempotency-Key": ""})


def test_a_fingerprint_that_is_stored_stays_true():
    assert fingerprint({"currency": "USD", "name": "Ferien für Zoë"}) == fingerprint(
        {"name": "Ferien für Zoë", "currency": "USD"}
    )
    assert fingerprint({"currency": "USD", "name": "x"}) == EXPECTED
    assert len({fingerprint({"a": a, "b": b}) for a, b in [("x", "y"), ("y", "x"), ("xy", ""), ("", "xy")]}) == 4


EXPECTED = "7c76d0364c2f273533051b973f05adc478b90c7d97d4226ad9bf329677e0c51a"
