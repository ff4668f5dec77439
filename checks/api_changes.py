"""Say what a new OpenAPI document takes away from clients that were written for an older one.

    api_changes.py BEFORE AFTER [--changelog BEFORE AFTER]

One rule for every value: what a client may send must still be taken, and what it may be sent must be what it knows. So
a request may only grow wider (a new optional field, one more value of an enum), and a response only narrower; a new field
in a response is none of an old client's business, a field that is gone is. Prose, examples and error statuses are no
promise here.

A break that is meant is written into CHANGELOG.md, sentence by sentence: clients have to read of it anyway.
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
# A value keeps a lower limit that is at least as high, an upper one that is at most as high.
LOWER = ("minimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
# What cannot be compared by size: there and different is another set of values.
EXACT = ("pattern", "format", "multipleOf", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum", "not")

Schema = dict[str, Any]


class Document:
    """An OpenAPI document, with its references followed."""

    def __init__(self, content: Schema) -> None:
        self.content = content
        # One object a schema, however often it is met: recursion is noticed by it.
        self._merged: dict[int, Schema] = {}

    def operations(self) -> dict[str, Schema]:
        """Return the operations by method and path; what a path's placeholders are called is no matter."""
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
                # Of a placeholder its place in the path counts, of a header no case.
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
        """Return what a reference stands for."""
        while "$ref" in node:
            found: Any = self.content
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def schema(self, node: Schema) -> Schema:
        """Return a schema without references and with its `allOf` put into one."""
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
    """What the older document promises and the newer one does not keep."""

    def __init__(self, before: Schema, after: Schema) -> None:
        self.before, self.after = Document(before), Document(after)

    def breaks(self) -> Iterator[str]:
        """Yield one sentence a break."""
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
        """Yield why the server may refuse what a client may send."""
        yield from Values(self.before, self.after, sent_by_client=True).outside(where, before, after)

    def response(self, where: str, before: Schema, after: Schema) -> Iterator[str]:
        """Yield why a client may be sent what it does not know."""
        yield from Values(self.after, self.before, sent_by_client=False).outside(where, after, before)


class Values:
    """Whether all values that one schema allows are allowed by another: those that are sent, by who receives them."""

    def __init__(self, sender: Document, receiver: Document, *, sent_by_client: bool) -> None:
        self.sender, self.receiver, self.sent_by_client = sender, receiver, sent_by_client
        # Held by their ids, and so that these stay theirs.
        self._seen: dict[tuple[int, int], tuple[Schema, Schema]] = {}

    def outside(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        """Yield every way in which a value that is sent may be none that is known."""
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
                yield self._says(where, "has a form that was not known", "has a form that is not taken any more")

    def _is_inside(self, sent: Schema, known: Schema) -> bool:
        trial = Values(self.sender, self.receiver, sent_by_client=self.sent_by_client)
        trial._seen |= self._seen
        return next(trial.outside("", sent, known), None) is None

    def _kind(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        if not types(sent) <= types(known):
            was, now = (kinds(sent), kinds(known)) if self.sent_by_client else (kinds(known), kinds(sent))
            yield f"{where}: was {was}, is {now}"
        if "enum" in known:
            unknown = [value for value in sent.get("enum", ["any value"]) if value not in known["enum"]]
            if unknown:
                values = ", ".join(map(str, unknown))
                yield self._says(where, f"may be {values} now", f"may not be {values} any more")

    def _limits(self, where: str, sent: Schema, known: Schema) -> Iterator[str]:
        # Numbers and lengths in a response are told for documentation; few clients refuse a longer one.
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
        # A server refuses fields that it does not know; a client passes over them.
        gone = fields.keys() - known_fields.keys() if self.sent_by_client else known_fields.keys() - fields.keys()
        for name in sorted(gone):
            yield f"{where}.{name}: is gone"
        for name in sorted(set(known.get("required", [])) - set(sent.get("required", [])) - gone):
            yield self._says(f"{where}.{name}", "may be missing now", "is required now")
        for name in sorted(fields.keys() & known_fields.keys()):
            yield from self.outside(f"{where}.{name}", fields[name], known_fields[name])
        closed = known.get("additionalProperties") is False and sent.get("additionalProperties", True)
        if self.sent_by_client and closed:
            yield f"{where}: takes no other fields any more"

    def _says(self, where: str, to_client: str, by_client: str) -> str:
        return f"{where}: {by_client if self.sent_by_client else to_client}"


def types(schema: Schema) -> set[str]:
    """Return the JSON types that a schema allows; an integer is a number, too."""
    every = {"null", "boolean", "integer", "fraction", "string", "array", "object"}
    told = schema.get("type")
    if told is None:
        return every
    found = set(told if isinstance(told, list) else [told]) | ({"null"} if schema.get("nullable") else set())
    return found - {"number"} | {"integer", "fraction"} if "number" in found else found


def kinds(schema: Schema) -> str:
    """Return a schema's types in words."""
    told = schema.get("type", "anything")
    words = [*told] if isinstance(told, list) else [told]
    return " or ".join(words + (["null"] if schema.get("nullable") else []))


def is_announced(sentence: str, before: str, after: str) -> bool:
    """Tell whether a change log has the sentence now and did not have it before, however its lines are wrapped."""
    now, then = (" ".join(text.split()).count(sentence) for text in (after, before))
    return now > then


def main(arguments: Sequence[str]) -> int:
    """Compare; exit code 1 if something breaks that the change log does not say."""
    parser = argparse.ArgumentParser(description="Say what an API takes away from its clients.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--changelog", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    options = parser.parse_args(arguments)
    before, after = (yaml.safe_load(path.read_text()) for path in (options.before, options.after))
    then, now = (path.read_text() for path in options.changelog) if options.changelog else ("", "")
    unsaid = 0
    sentences = list(Comparison(before, after).breaks())
    for sentence in sentences:
        announced = is_announced(sentence, then, now)
        unsaid += not announced
        print(f"{'announced' if announced else 'BREAKS   '}  {sentence}")
    if unsaid:
        print(
            f"error: {unsaid} breaks for clients: take them back or, if they are meant, write each of these sentences "
            "into CHANGELOG.md",
            file=sys.stderr,
        )
    if not sentences:
        print("nothing breaks for clients")
    return min(unsaid, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
