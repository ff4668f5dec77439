"""Currencies: a code that ISO 4217 withdraws keeps its decimal places, and DEFAULT_CURRENCY is a current one."""

import importlib.util

import iso4217
import pytest
from django.core.checks import run_checks

from apps.core.money import currencies


def test_every_current_code_is_recorded_before_iso_can_withdraw_it():
    """If it is not, iso4217 has learnt of a currency: write it into RECORDED, for good."""
    recorded = {code: places for places, codes in currencies.RECORDED.items() for code in codes.split()}

    assert sum(len(codes.split()) for codes in currencies.RECORDED.values()) == len(recorded)
    assert currencies.CURRENT.items() <= recorded.items()


def test_a_withdrawal_takes_a_code_from_the_current_ones_and_from_nowhere_else(monkeypatch):
    left = [currency for currency in iso4217.Currency if currency.code not in {"SEK", "JPY"}]
    monkeypatch.setattr(iso4217, "Currency", left)
    spec = importlib.util.find_spec("apps.core.money.currencies")
    later = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(later)

    assert currencies.CURRENT.keys() - later.CURRENT.keys() == {"SEK", "JPY"}
    assert later.EXPONENTS == currencies.EXPONENTS


@pytest.mark.parametrize("currency", ["HRK", "ZZZ", "usd", ""])
def test_a_default_currency_that_is_not_current_fails_the_checks(settings, currency):
    settings.DEFAULT_CURRENCY = currency

    assert [message.id for message in run_checks()] == ["core.E001"]
