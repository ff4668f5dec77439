"""Strict request parsers (JSON, forms, multipart): input that the standards leave ambiguous is refused, not guessed."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import parse_qsl

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser

from apps.core.errors import FieldError
from apps.core.problem import BadRequest

MAX_DEPTH = 20
MAX_INTEGER_DIGITS = 100
MAX_FORM_FIELDS = 20


@dataclass(frozen=True, slots=True)
class JSONFloat:
    """A JSON number with a fraction or an exponent, as its source text: a binary float would already have lost digits.

    It is neither `str` nor `float`, so a field for text refuses it. DRF's numeric fields read it by `str()` or `float()`.
    """

    source: str

    def __str__(self) -> str:
        return self.source

    def __float__(self) -> float:
        return float(self.source)


class StrictJSONParser(JSONParser):
    """One UTF-8 JSON object without duplicate keys, NaN or Infinity, nested `MAX_DEPTH` levels at most.

    Raises: BadRequest `malformed_json`, `duplicate_key` or, for a JSON value that is not an object, `invalid_request`;
    UnsupportedMediaType for a media range such as `*/*`, which is no media type but which DRF matches with ours.
    """

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        if "*" in (media_type or ""):
            raise UnsupportedMediaType(media_type or "")
        return parse_object(_read_whole(stream, parser_context, "malformed_json"))


class StrictFormParser(FormParser):
    """A form in UTF-8 without duplicate fields, as a plain dictionary.

    Raises: BadRequest `invalid_request` or `duplicate_key`.
    """

    def parse(  # type: ignore[override]  # DRF's own is a QueryDict, which keeps duplicates
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = _read_whole(stream, parser_context, "invalid_request")
        try:
            pairs = parse_qsl(
                body.decode(),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=MAX_FORM_FIELDS,
            )
        except ValueError as error:
            raise BadRequest("invalid_request", "The body is not a valid form in UTF-8.") from error
        return _object_without_duplicates(pairs)


class StrictMultiPartParser(MultiPartParser):
    """A form as multipart/form-data, without files; otherwise as StrictFormParser.

    Raises: as StrictFormParser; DRF's ParseError.
    """

    def parse(  # type: ignore[override]  # as above
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        parsed = super().parse(stream, media_type, parser_context)
        if parsed.files:
            raise BadRequest("invalid_request", "No files are taken here.")
        return _object_without_duplicates([(name, value) for name, values in parsed.data.lists() for value in values])


def _read_whole(stream: IO[bytes], parser_context: Mapping[str, Any] | None, code: str) -> bytes:
    """Return the body; raises BadRequest if it is shorter than its Content-Length, as a part can be valid by itself."""
    body = stream.read()
    if len(body) < int((parser_context or {})["request"].META.get("CONTENT_LENGTH") or 0):
        raise BadRequest(code, "The body is shorter than its Content-Length.")
    return body


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; an empty body is an empty object, so that the error names the missing fields."""
    if not body:
        return {}
    try:
        parsed = json.loads(
            body.decode("utf-8"),
            parse_float=JSONFloat,
            parse_int=_parse_integer,
            parse_constant=_reject_constant,
            object_pairs_hook=_object_without_duplicates,
        )
        if _is_too_deep(parsed):
            message = "nested too deeply"
            raise ValueError(message)  # noqa: TRY301  one refusal with the parser's own
    # RecursionError: which depth raises it differs between Python's versions; some parse what others refuse.
    except (ValueError, RecursionError) as error:
        raise BadRequest("malformed_json", "The body is not valid JSON in UTF-8.") from error
    if not isinstance(parsed, dict):
        raise BadRequest("invalid_request", "The body must be a JSON object.")
    return parsed


def _is_too_deep(value: Any) -> bool:
    """Return whether a parsed value nests lists and objects beyond `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(each, dict | list) for each in level)


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        message = "integer too long"
        raise ValueError(message)
    return int(digits)


def _reject_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        duplicates = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise BadRequest(
            "duplicate_key",
            "Each key may be there once.",
            [FieldError(name, "duplicate_key", "This key is there more than once.") for name in duplicates],
        )
    return result
