"""Fields of money: what a serializer takes and refuses, and the columns of a model."""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import models
from rest_framework import serializers

from apps.core.money.fields import AmountBoundField, AmountField, CurrencyField
from apps.core.money.models import currency_field, currency_is_an_iso_code, money_field


@pytest.mark.parametrize(
    ("sent", "amount"), [("25.00", "25.00"), ("0.0001", "0.0001"), (25, "25"), ("1000000000", "1000000000")]
)
def test_an_amount_is_taken_exactly(sent, amount):
    read = AmountField().run_validation(sent)

    assert read == Decimal(amount)
    assert AmountField().to_representation(read) == amount


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        *((sent, "invalid") for sent in ("", "1e3", "-1", "NaN", 1.0, True, [], {})),
        *((sent, "min_value") for sent in ("0", "0.00", 0, -1)),
        *((sent, "max_value") for sent in ("1000000000.01", 1_000_000_001, 10**30)),
        ("0.00001", "max_decimal_places"),
    ],
)
def test_an_amount_that_is_none_is_refused(sent, code):
    with pytest.raises(serializers.ValidationError) as refused:
        AmountField().run_validation(sent)

    assert refused.value.get_codes() == [code]


@pytest.mark.parametrize("sent", ["0", 0, "1000000001"])
def test_a_bound_may_be_zero_or_beyond_the_limit(sent):
    assert AmountBoundField().run_validation(sent) == Decimal(sent)


@pytest.mark.parametrize("sent", ["usd", "", "XXX1", None, 840, [], {}])
def test_a_currency_is_a_code_in_capitals(sent):
    assert CurrencyField().run_validation("USD") == "USD"
    with pytest.raises(serializers.ValidationError):
        CurrencyField().run_validation(sent)


class TestColumns:
    def test_an_amount_has_fifteen_digits_before_the_point_and_four_behind_it(self):
        column = money_field()

        assert column.clean("999999999999999.9999", None) == Decimal("999999999999999.9999")
        with pytest.raises(ValidationError):
            column.clean("1000000000000000", None)

    def test_a_currency_has_three_letters_and_its_constraint_asks_for_them(self):
        constraint = currency_is_an_iso_code("currency_is_a_code")

        assert currency_field().max_length == 3
        assert constraint.name == "currency_is_a_code"
        assert constraint.condition == models.Q(currency__regex="^[A-Z]{3}$")
