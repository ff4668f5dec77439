"""Serializer pieces that take what was meant and refuse what would have to be guessed."""

import re
import unicodedata
import uuid
from datetime import datetime
from typing import Any, Final

from rest_framework import serializers

from apps.core.parsers import JSONFloat
from apps.core.problem import BadRequest, FieldError

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII | re.IGNORECASE,
)
CANONICAL_UUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


def plain_text(text: str) -> str:
    """Return a text in Unicode's composed form (NFC); raises ValueError for control characters and lone surrogates."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        message = "not plain text"
        raise ValueError(message)
    return unicodedata.normalize("NFC", text)


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

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or isinstance(data, JSONFloat):
            self.fail("invalid")
        try:
            return super().to_internal_value(plain_text(data))
        except ValueError:
            self.fail("invalid")


class StrictUUIDField(serializers.UUIDField):
    """A UUID in its canonical form, in either case (RFC 9562 §4), as in a URL; no integers, URNs or braces."""

    def to_internal_value(self, data: Any) -> uuid.UUID:
        if not isinstance(data, str) or not re.fullmatch(CANONICAL_UUID, data):
            self.fail("invalid", value="")
        return uuid.UUID(data)


class StrictDateTimeField(serializers.DateTimeField):
    """A moment as RFC 3339 §5.6 writes it, with its offset; neither a date alone nor a clock whose zone would be guessed."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not _RFC3339.fullmatch(value):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss[.uuuuuu](Z|+hh:mm|-hh:mm)")
        return super().to_internal_value(value)
