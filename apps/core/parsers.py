"""JSON as money needs it: what RFC 8259 leaves open is refused instead of guessed."""

import codecs
import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import JSONParser

from apps.core.problem import BadRequest, FieldError

MAX_DEPTH = 20
MAX_INTEGER_DIGITS = 100


class JSONFloat(str):
    """The source text of a JSON number with a fraction or an exponent: a binary float would already have lost digits."""

    __slots__ = ()


class StrictJSONParser(JSONParser):
    """One UTF-8 JSON object without duplicate keys, NaN, Infinity or absurd depth.

    Raises: BadRequest `malformed_json`, `duplicate_key` or, for another JSON value than an object, `invalid_request`;
    UnsupportedMediaType for another charset or any Content-Encoding.
    """

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        request = (parser_context or {})["request"]
        if not _is_utf8(request.content_params.get("charset", "utf-8")) or "Content-Encoding" in request.headers:
            raise UnsupportedMediaType(media_type or "")
        return parse_object(stream.read())


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; an empty body is an empty object, so that the fields say what is missing."""
    if not body:
        return {}
    try:
        text = body.decode("utf-8")
        _refuse_depth(text)
        parsed = json.loads(
            text,
            parse_float=JSONFloat,
            parse_int=_parse_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_without_duplicates,
        )
    except ValueError as error:
        raise BadRequest("malformed_json", "The body is not valid JSON in UTF-8.") from error
    if not isinstance(parsed, dict):
        raise BadRequest("invalid_request", "The body must be a JSON object.")
    return parsed


def _is_utf8(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name == "utf-8"
    except LookupError:
        return False


def _refuse_depth(text: str) -> None:
    """Raise ValueError beyond `MAX_DEPTH`, before the recursive parser can meet it; brackets in strings do not count."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                message = "nested too deeply"
                raise ValueError(message)
        elif character in "]}":
            depth -= 1


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        message = "integer too long"
        raise ValueError(message)
    return int(digits)


def _refuse_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BadRequest(
            "duplicate_key",
            "A JSON object may name each key once.",
            [FieldError(name, "duplicate_key", "This key is there more than once.") for name in twice],
        )
    return result
