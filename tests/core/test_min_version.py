"""`Min-Version` header: one whole number that a bigint can hold, or 400."""

import pytest

from apps.core.min_version import LARGEST, min_version
from apps.core.problem import InvalidParameters


@pytest.mark.parametrize(("text", "version"), [("0", 0), ("42", 42), (str(LARGEST), LARGEST)])
def test_a_whole_number_is_taken(text, version):
    assert min_version({"Min-Version": text}) == version


def test_it_is_optional():
    assert min_version({}) is None


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "+1", "1.0", "1e3", "042", "42,42", "42, 43", "0x2a", "\u0664\u0662", str(LARGEST + 1), "9" * 400],
)
def test_anything_else_is_refused(text):
    with pytest.raises(InvalidParameters) as refused:
        min_version({"Min-Version": text})

    assert refused.value.problem_type.code == "invalid_parameter"
    assert [error.field for error in refused.value.errors] == ["Min-Version"]
