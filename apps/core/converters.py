"""URL path converters: a UUID in a URL has the same grammar as in a body."""

import uuid

from django.urls import register_converter

from apps.core.fields import CANONICAL_UUID


class CanonicalUUIDConverter:
    """A UUID in its canonical form, in either case (RFC 9562 §4); Django's own `uuid` takes lower case only."""

    regex = CANONICAL_UUID

    def to_python(self, value: str) -> uuid.UUID:
        return uuid.UUID(value)

    def to_url(self, value: uuid.UUID | str) -> str:
        return str(value)


register_converter(CanonicalUUIDConverter, "canonical_uuid")
