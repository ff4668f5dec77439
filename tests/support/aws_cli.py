"""AWS's command line, for commands of documents: `python -m tests.support.aws_cli rds describe-db-instances --query ...`.

It takes a command's options as the real one does, from botocore's description of the service, so an operation or an option
that does not exist fails; the answer comes from whatever AWS_ENDPOINT_URL names.
"""

import sys
from itertools import takewhile
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.model import Shape


def call(service: str, operation: str, words: list[str]) -> Any:
    """Carry a command out; return the answer."""
    client = boto3.client(service)
    waiter = None
    if operation == "wait":
        waiter = client.get_waiter(words[0].replace("-", "_"))
        operation, words = xform_name(waiter.config.operation), words[1:]
    method = operation.replace("-", "_")
    members = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape.members
    options = {xform_name(name, "-"): name for name in members}
    given: dict[str, Any] = {}
    presentation = {}
    while words:
        option, words = words[0], words[1:]
        assert option.startswith("--"), f"{option} is no option"
        values = list(takewhile(lambda word: not word.startswith("--"), words))
        words = words[len(values) :]
        name = option.removeprefix("--")
        if name in ("query", "output"):
            (presentation[name],) = values
        elif name.startswith("no-") and name.removeprefix("no-") in options:
            given[options[name.removeprefix("no-")]] = False
        else:
            # KeyError: there is no such option.
            given[options[name]] = value(members[options[name]], values)
    if waiter is not None:
        waiter.wait(**given)
        return None
    answer = getattr(client, method)(**given)
    return jmespath.search(presentation["query"], answer) if "query" in presentation else answer


def value(shape: Shape, words: list[str]) -> Any:
    if shape.type_name == "boolean":
        assert not words
        return True
    if shape.type_name == "list":
        return words
    (word,) = words
    return int(word) if shape.type_name == "integer" else word


if __name__ == "__main__":
    answered = call(sys.argv[1], sys.argv[2], sys.argv[3:])
    if answered is not None:
        print(answered.isoformat() if hasattr(answered, "isoformat") else answered)
