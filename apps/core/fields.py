"""Serializer pieces that take what was meant and refuse what would have to be guessed."""

import re
import uuid
from datetime import datetime
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from apps.core.errors import FieldError
from apps.core.problem import BadRequest
from apps.core.text import NOT_TEXT, plain_text

NO_CONTROL_CHARACTERS: Final = r"^[^\x00-\x1F\x7F-\x9F]*$"
# RFC 3339 §5.6, where T and Z may be small; the years that Python has, and no leap second.
MOMENT: Final = (
    r"([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
CANONICAL_UUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know instead of ignoring them.

    A misspelt `refrence`, or a `balance` that somebody hopes to set, is told to the client and changes nothing.
    """

    def to_internal_value(self, data: Any) -> Any:
        writable = {name for name, field in self.fields.items() if not field.read_only}
        if unknown := sorted(set(data) - writable):
            raise BadRequest(
                "unknown_field",
                "The body has fields that are not known here.",
                [FieldError(name, "unknown_field", "This field is not known here.") for name in unknown],
            )
        return super().to_internal_value(data)


class TextField(serializers.CharField):
    """A JSON string, never a number in disguise, without control characters; stored in Unicode's composed form (NFC)."""

    def run_validation(self, data: Any = empty) -> Any:
        # Before DRF, for which line breaks are white space like any other, and text of nothing else is "".
        if isinstance(data, str) and NOT_TEXT.search(data):
            self.fail("invalid")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return plain_text(super().to_internal_value(data))


class StrictUUIDField(serializers.UUIDField):
    """A UUID in its canonical form, in either case (RFC 9562 §4), as in a URL; no integers, URNs or braces."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str) or not re.fullmatch(CANONICAL_UUID, data):
            self.fail("invalid", value="")
        return uuid.UUID(data)


@extend_schema_field({"type": "string", "format": "date-time", "pattern": f"^{MOMENT}$"})
class StrictDateTimeField(serializers.DateTimeField):
    """A moment as RFC 3339 §5.6 writes it, with its offset; neither a date alone nor a clock whose zone would be guessed."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not re.fullmatch(MOMENT, value):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss[.uuuuuu](Z|+hh:mm|-hh:mm)")
        return super().to_internal_value(value.upper())
