"""Breaking API changes: compare two OpenAPI documents, and list what breaks clients of the older one.

    python -m checks.api_changes BEFORE AFTER [--changelog BEFORE AFTER]

The server must still accept every value that clients may send, and must send no value that clients do not expect. So a
request may only become wider (a new optional field, one more value of an enum) and a response only narrower. A new field
in a response is not a break; a removed field is. Prose, examples and error statuses are not compared.

An intended break is announced in CHANGELOG.md, sentence by sentence, where clients read of it.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# Limits that compare by size: a schema is narrower with a higher lower limit or a lower upper limit.
LOWER = ("minimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
# Keywords that do not compare by size: a different value allows another set of values.
EXACT = ("pattern", "format", "multipleOf", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum", "not")

Schema = dict[str, Any]


class Document:
    """An OpenAPI document, with its references resolved."""

    def __init__(self, content: Schema) -> None:
        self.content = content
        # One object per schema, so that recursion can be detected by identity.
        self._merged: dict[int, Schema] = {}

    def operations(self) -> dict[str, Schema]:
        """Return the operations by method and path; names of placeholders do not matter."""
        return {
            f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}": self._operation(path, item, item[method])
            for path, item in self.content.get("paths", {}).items()
            for method in METHODS
            if method in item
        }

    def _operation(self, path: str, item: Schema, operation: Schema) -> Schema:
        places = re.findall(r"{([^}]*)}", path)
        parameters = [self.follow(one) for one in [*item.get("parameters", []), *operation.get("parameters", [])]]
        return {
            "operationId": operation.get("operationId"),
            "parameters": {
                # Placeholders are identified by position, headers without case.
                f"path parameter {places.index(one['name']) + 1}"
                if one["in"] == "path" and one["name"] in places
                else f"{one['in']} parameter {one['name'].lower() if one['in'] == 'header' else one['name']}": one
                for one in parameters
            },
            "body": self.follow(operation.get("requestBody", {})),
            "responses": {str(status): self.follow(one) for status, one in operation.get("responses", {}).items()},
            "security": operation.get("security", self.content.get("security", [])) or [{}],
        }

    def follow(self, node: Schema) -> Schema:
        """Return the object that a reference points to."""
        while "$ref" in node:
            found: Any = self.content
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def schema(self, node: Schema) -> Schema:
        """Return a schema with references resolved and `allOf` merged."""
        node = self.follow(node)
        if "allOf" not in node:
            return node
        if id(node) in self._merged:
            return self._merged[id(node)]
        whole = self._merged[id(node)] = {}
        for part in [*map(self.schema, node["allOf"]), {key: node[key] for key in node if key != "allOf"}]:
            for key, value in part.items():
                if key == "properties":
                    whole[key] = whole.get(key, {}) | value
                elif key == "required":
                    whole[key] = [*whole.get(key, []), *value]
                else:
                    whole[key] = value
        return whole


class Comparison:
    """The breaking changes between two documents."""

    def __init__(self, before: Schema, after: Schema) -> None:
        self.before, self.after = Document(before), Document(after)

    def breaks(self) -> Iterator[str]:
        """Yield one sentence for each break."""
        after = self.after.operations()
        for name, operation in self.before.operations().items():
            if name not in after:
                yield f"{name}: is gone"
            else:
                for sentence in self._operation(operation, after[name]):
                    yield f"{name}: {sentence}"

    def _operation(self, before: Schema, after: Schema) -> Iterator[str]:
        if before["operationId"] != after["operationId"]:
            yield f"operationId was {before['operationId']}, and generated clients call it so"
        if any(way not in after["security"] for way in before["security"]):
            yield "asks for another authentication"
        yield from self._parameters(before["parameters"], after["parameters"])
        yield from self._body(before["body"], after["body"])
        for status, response in before["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in after["responses"]:
                yield f"response {status}: is gone"
            else:
                yield from self._response(f"response {status}", response, after["responses"][status])

    def _parameters(self, before: Schema, after: Schema) -> Iterator[str]:
        for name, parameter in before.items():
            if name not in after:
                yield f"{name}: is gone"
            else:
                yield from self.request(name, parameter.get("schema", {}), after[name].get("schema", {}))
        for name, parameter in after.items():
            if parameter.get("required") and not before.get(name, {}).get("required"):
                yield f"{name}: is required now"

    def _body(self, before: Schema, after: Schema) -> Iterator[str]:
        if after.get("required") and not before.get("required"):
            yield "request: a body is required now"
        for kind, content in before.get("content", {}).items():
            if kind not in after.get("content", {}):
                yield f"request: {kind} is not taken any more"
            else:
                where = f"request {kind}"
                yield from self.request(where, content.get("schema", {}), after["content"][kind].get("schema", {}))

    def _response(self, where: str, before: Schema, after: Schema) -> Iterator[str]:
        there = {name.lower() for name in after.get("headers", {})}
        for name in before.get("headers", {}):
            if name.lower() not in there:
                yield f"{where}: header {name} is gone"
        for kind, content in before.get("content", {}).items():
            if kind not in after.get("content", {}):
                yield f"{where}: {kind} is gone"
            else:
                new = after["content"][kind].get("schema", {})
                yield from self.response(f"{where} {kind}", content.get("schema", {}), new)

    def request(self, where: str, before: Schema, after: Schema) -> Iterator[str]:
        """Yield the values that clients may send and the server no longer accepts."""
        yield from Values(self.before, self.after, sent_by_client=True).outside(where, before, after)

    def response(self, where: str, before: Schema, after: Schema) -> Iterator[str]:
        """Yield the values that the server may send and clients do not expect."""
        yield from Values(self.after, self.before, sent_by_client=False).outside(where, after, before)


class Values:
    """Compare the values that the sender's schema allows with those that the receiver's schema allows."""

    def __init__(self, sender: Document, receiver: Document, *, sent_by_client: bool) -> None:
        self.sender, self.receiver, self.sent_by_client = sender, receiver, sent_by_client
        # Keyed by id; the values keep the schemas alive, so that no id is reused.
        self._seen: dict[tuple[int, int], tuple[Schema, Schema]] = {}

    def outside(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        """Yield each way in which a sent value may not be allowed by the receiver's schema."""
        sent, known = self.sender.schema(sent), self.receiver.schema(known)
        if (id(sent), id(known)) in self._seen:
            return
        self._seen[id(sent), id(known)] = (sent, known)
        if any(key in schema for schema in (sent, known) for key in ("oneOf", "anyOf")):
            yield from self._choices(where, sent, known)
            return
        yield from self._kind(where, sent, known)
        yield from self._limits(where, sent, known)
        yield from self._fields(where, sent, known)
        if "items" in known:
            yield from self.outside(f"{where}[]", sent.get("items", {}), known["items"])
        extra = known.get("additionalProperties")
        if isinstance(extra, dict):
            yield from self.outside(f"{where}.*", sent.get("additionalProperties") or {}, extra)

    def _choices(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        choices = known.get("oneOf") or known.get("anyOf") or [known]
        for choice in sent.get("oneOf") or sent.get("anyOf") or [sent]:
            if not any(self._is_inside(choice, one) for one in choices):
                yield self._sentence(where, "has a form that was not known", "has a form that is not taken any more")

    def _is_inside(self, sent: Schema, known: Schema) -> bool:
        trial = Values(self.sender, self.receiver, sent_by_client=self.sent_by_client)
        trial._seen |= self._seen
        return next(trial.outside("", sent, known), None) is None

    def _kind(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        if not types(sent) <= types(known):
            was, now = (
                (type_names(sent), type_names(known)) if self.sent_by_client else (type_names(known), type_names(sent))
            )
            yield f"{where}: was {was}, is {now}"
        if "enum" in known:
            unknown = [value for value in sent.get("enum", ["any value"]) if value not in known["enum"]]
            if unknown:
                values = ", ".join(map(str, unknown))
                yield self._sentence(where, f"may be {values} now", f"may not be {values} any more")

    def _limits(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        # Limits in a response are documentation: few clients reject a longer value.
        if not self.sent_by_client:
            return
        for key in LOWER:
            if key in known and sent.get(key, float("-inf")) < known[key]:
                yield f"{where}: {key} was {sent.get(key, 'not there')}, is {known[key]}"
        for key in UPPER:
            if key in known and sent.get(key, float("inf")) > known[key]:
                yield f"{where}: {key} was {sent.get(key, 'not there')}, is {known[key]}"
        for key in EXACT:
            if known.get(key) and sent.get(key) != known[key]:
                yield f"{where}: {key} was {sent.get(key, 'not there')}, is {known[key]}"

    def _fields(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        fields, known_fields = sent.get("properties", {}), known.get("properties", {})
        # The server rejects unknown fields; clients ignore them.
        gone = fields.keys() - known_fields.keys() if self.sent_by_client else known_fields.keys() - fields.keys()
        for name in sorted(gone):
            yield f"{where}.{name}: is gone"
        for name in sorted(set(known.get("required", [])) - set(sent.get("required", [])) - gone):
            yield self._sentence(f"{where}.{name}", "may be missing now", "is required now")
        for name in sorted(fields.keys() & known_fields.keys()):
            yield from self.outside(f"{where}.{name}", fields[name], known_fields[name])
        closed = known.get("additionalProperties") is False and sent.get("additionalProperties", True)
        if self.sent_by_client and closed:
            yield f"{where}: takes no other fields any more"

    def _sentence(self, where: str, to_client: str, by_client: str) -> str:
        return f"{where}: {by_client if self.sent_by_client else to_client}"


def types(schema: Schema) -> set[str]:
    """Return the JSON types that a schema allows; an integer is a number, too."""
    every = {"null", "boolean", "integer", "fraction", "string", "array", "object"}
    declared = schema.get("type")
    if declared is None:
        return every
    found = set(declared if isinstance(declared, list) else [declared]) | (
        {"null"} if schema.get("nullable") else set()
    )
    return found - {"number"} | {"integer", "fraction"} if "number" in found else found


def type_names(schema: Schema) -> str:
    """Return a schema's types as text, such as `string or null`."""
    declared = schema.get("type", "anything")
    names = [*declared] if isinstance(declared, list) else [declared]
    return " or ".join(names + (["null"] if schema.get("nullable") else []))


def is_announced(sentence: str, before: str, after: str) -> bool:
    """Return whether a change log has the sentence now and did not have it before, however its lines wrap."""
    now, then = (" ".join(text.split()).count(sentence) for text in (after, before))
    return now > then


def main(arguments: Sequence[str]) -> int:
    """Compare; return 1 if there is a break that the change log does not announce."""
    parser = argparse.ArgumentParser(description="List the changes of an API that break its clients.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--changelog", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    options = parser.parse_args(arguments)
    before, after = (yaml.safe_load(path.read_text()) for path in (options.before, options.after))
    then, now = (path.read_text() for path in options.changelog) if options.changelog else ("", "")
    unannounced = 0
    sentences = list(Comparison(before, after).breaks())
    for sentence in sentences:
        announced = is_announced(sentence, then, now)
        unannounced += not announced
        print(f"{'announced' if announced else 'BREAKS   '}  {sentence}")
    if unannounced:
        print(
            f"error: {unannounced} breaks for clients: undo them or, if they are intended, add each of these sentences "
            "to CHANGELOG.md",
            file=sys.stderr,
        )
    if not sentences:
        print("nothing breaks for clients")
    return min(unannounced, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
