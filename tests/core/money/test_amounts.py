"""Amounts as text: the grammar, the pattern that declares it, and the currency's decimal places."""

import random
import re
from decimal import Decimal

import pytest

from apps.core.money.amounts import MAX_VALUE, format_amount, format_stored, parse_amount, positive_amount_pattern
from apps.core.money.currencies import EXPONENTS
from apps.core.money.errors import AmountTooFine, ensure_exact


@pytest.mark.parametrize("text", ["0", "1", "25.00", "0.0001", "1.00000", str(MAX_VALUE)])
def test_an_amount_keeps_its_places(text):
    assert str(parse_amount(text)) == text


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "01", "1.", ".5", "1e3", "NaN", "1_000", "1,5", " 1", "1\n", "\u0661", "1\uff11", "9" * 16]
)
def test_any_other_text_is_none(text):
    assert parse_amount(text) is None


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("100", "JPY", "100"),
        ("1", "USD", "1.00"),
        ("1.0000", "KWD", "1.000"),
        ("100.25", "JPY", "100.25"),
        ("1.5", "HRK", "1.50"),
        ("1.5", "ZZZ", "1.50"),
    ],
)
def test_an_amount_is_shown_with_its_currencys_places(amount, currency, text):
    assert format_amount(Decimal(amount), currency) == text


def test_a_stored_amount_is_shown_the_same(seed):
    chance = random.Random(seed)
    for currency in [*EXPONENTS, "ZZZ"]:
        for _ in range(50):
            amount = Decimal(chance.randrange(-(10**12), 10**12)) / 10 ** chance.randrange(5)
            assert format_stored(f"{amount:.4f}", currency) == format_amount(amount, currency)


@pytest.mark.parametrize(("amount", "currency"), [("1", "JPY"), ("1.25", "USD"), ("1.125", "KWD"), ("1.0001", "CLF")])
def test_an_amount_as_fine_as_its_currency_is_exact(amount, currency):
    ensure_exact(Decimal(amount), currency)


@pytest.mark.parametrize(("amount", "currency"), [("1.0", "JPY"), ("1.250", "USD"), ("1.1250", "KWD")])
def test_a_finer_one_is_refused(amount, currency):
    with pytest.raises(AmountTooFine) as refused:
        ensure_exact(Decimal(amount), currency)

    assert [(error.field, error.code) for error in refused.value.field_errors] == [("amount", "max_decimal_places")]


@pytest.mark.parametrize("limit", [1, 7, 10, 25, 100, 109, 999])
def test_the_pattern_of_an_amount_ends_at_the_limit(limit):
    pattern = re.compile(positive_amount_pattern(limit))
    texts = [f"{whole}{rest}" for whole in range(2000) for rest in ("", ".0", ".0000", ".0001", ".9999")]

    assert [text for text in texts if bool(pattern.match(text)) != (0 < Decimal(text) <= limit)] == []
