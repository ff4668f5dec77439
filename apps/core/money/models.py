"""Model fields of money: the columns of an amount and of its currency."""

from typing import Any

from django.db import models


def money_field(**kwargs: Any) -> "models.DecimalField[Any, Any]":
    """Return a `numeric(19,4)`: every ISO 4217 exponent and fifteen digits before the point."""
    return models.DecimalField(max_digits=19, decimal_places=4, **kwargs)


def currency_field(**kwargs: Any) -> "models.CharField[Any, Any]":
    """Return the column of an ISO 4217 code; `currency_is_an_iso_code` is its constraint."""
    return models.CharField(max_length=3, **kwargs)


def currency_is_an_iso_code(name: str) -> models.CheckConstraint:
    """Return the constraint, of this name, that the column `currency` has three capital letters."""
    return models.CheckConstraint(condition=models.Q(currency__regex="^[A-Z]{3}$"), name=name)
