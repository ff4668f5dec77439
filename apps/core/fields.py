"""Strict serializer fields: they accept one notation of a value and refuse every other instead of guessing."""

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
# The same, with a character that is no white space, for a text that is trimmed and may not be empty.
NOT_BLANK: Final = r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$"
# RFC 3339 §5.6, in which T and Z may be lower case; years 0001 to 9999 as in Python, and no leap second.
RFC3339_DATE_TIME: Final = (
    r"([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
CANONICAL_UUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses unknown fields instead of ignoring them.

    A misspelt `refrence`, or a `balance` in a request, is an error that names the field.

    Raises: BadRequest `unknown_field`.
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


class EmptyInput(StrictSerializer):
    """An empty body."""


class TextField(serializers.CharField):
    """A JSON string without control characters, normalised to Unicode's composed form (NFC); a number is refused."""

    def run_validation(self, data: Any = empty) -> Any:
        # Before DRF strips white space, which includes line breaks: a text of line breaks only would become "".
        if isinstance(data, str) and NOT_TEXT.search(data):
            self.fail("invalid")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return plain_text(super().to_internal_value(data))


class StrictUUIDField(serializers.UUIDField):
    """A UUID in its canonical form, in either case (RFC 9562 §4), as in a URL; not an integer, URN or braces."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str) or not re.fullmatch(CANONICAL_UUID, data):
            self.fail("invalid", value="")
        return uuid.UUID(data)


@extend_schema_field({"type": "string", "format": "date-time", "pattern": f"^{RFC3339_DATE_TIME}$"})
class StrictDateTimeField(serializers.DateTimeField):
    """A date and time of RFC 3339 §5.6 with its offset; a date alone, or a time without an offset, is refused."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not re.fullmatch(RFC3339_DATE_TIME, value):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss[.uuuuuu](Z|+hh:mm|-hh:mm)")
        return super().to_internal_value(value.upper())
