"""Request bodies: the parser's limits under each installed Python, and JSON numbers with a fraction in serializer fields."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rest_framework import serializers

from apps.core.fields import TextField
from apps.core.parsers import JSONFloat, parse_object
from tests.support.paths import ROOT

PYTHONS = [sys.executable, *(f"python3.{minor}" for minor in range(11, 16))]
NESTED = """
from django.conf import settings

settings.configure()

from apps.core.parsers import MAX_DEPTH, parse_object
from apps.core.problem import BadRequest


def nested(opening, closing, depth):
    return (opening * depth + ("1" if closing == "}" else "") + closing * depth).encode()


def parsed(body):
    try:
        parse_object(body)
    except BadRequest as error:
        return error.get_codes()
    return "parsed"


for depth in (MAX_DEPTH - 1, MAX_DEPTH, 900, 1100, 10_000, 30_000):
    for opening, closing in (("[", "]"), ('{"x":', "}")):
        answer = parsed(b'{"x":' + nested(opening, closing, depth) + b"}")
        assert answer == ("parsed" if depth < MAX_DEPTH else "malformed_json"), (depth, opening, answer)
for unclosed in (b"[" * 60_000, b'{"x":' * 10_000):
    assert parsed(unclosed) == "malformed_json"
print("as promised")
"""


@pytest.mark.parametrize("python", PYTHONS)
def test_nested_bodies_are_refused_alike_by_each_python(python: str) -> None:
    """CPython's own limit on recursion differs between versions: 3.11 counts Python calls, 3.12 C calls, 3.14 stack."""
    try:
        where = [python, "-c", "import sys; print(sys.executable)"]
        program = subprocess.run(where, text=True, check=True, capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"no {python} here")
    packages = Path(serializers.__file__).parents[1]

    result = subprocess.run(
        [program, "-c", NESTED],
        env={"PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        capture_output=True,
        check=False,
    )

    assert result.stdout == "as promised\n", result.stderr


class TestJSONFloat:
    number = parse_object(b'{"x": 1.10}')["x"]

    def test_it_keeps_the_digits(self) -> None:
        assert self.number == JSONFloat("1.10")
        assert parse_object(b'{"x": 12345678901234567890.5}')["x"] == JSONFloat("12345678901234567890.5")

    @pytest.mark.parametrize(
        "field", [TextField(), serializers.CharField(), serializers.ChoiceField(["a"]), serializers.UUIDField()]
    )
    def test_fields_for_text_refuse_it(self, field: serializers.Field[Any, Any, Any, Any]) -> None:
        with pytest.raises(serializers.ValidationError):
            field.run_validation(self.number)

    def test_fields_for_numbers_read_it(self) -> None:
        decimal = serializers.DecimalField(max_digits=30, decimal_places=2)
        assert decimal.run_validation(JSONFloat("1234567890123456789.05")) == Decimal("1234567890123456789.05")
        assert serializers.FloatField().run_validation(self.number) == float("1.10")
