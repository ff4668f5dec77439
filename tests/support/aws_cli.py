"""AWS's command line, for commands of documents: `python -m tests.support.aws_cli rds describe-db-instances --query ...`.

It takes a command's options as the real one does, from botocore's description of the service, so an operation or an option
that does not exist fails; the answer comes from whatever AWS_ENDPOINT_URL names. An error of AWS's is one line, and the
exit code 254.
"""

# A command line, and AWS's own variables.
# ruff: noqa: TID251

import json
import os
import sys
from itertools import takewhile
from typing import Any

import boto3
import jmespath
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import Shape

FAILED = 254
# moto has no host name for each bucket.
CONFIG = Config(s3={"addressing_style": "path"})


def call(service: str, operation: str, words: list[str]) -> Any:
    """Carry a command out; return the answer."""
    # boto3 does not read AWS_REGION, and the command line's version 2 does.
    region = os.environ.get("AWS_REGION")
    client = boto3.client(service.removesuffix("api"), region_name=region, config=CONFIG)
    if (service, operation) == ("s3", "mb"):
        (address,) = words
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        return client.create_bucket(Bucket=address.removeprefix("s3://"), **place) and None
    waiter = None
    if operation == "wait":
        waiter = client.get_waiter(words[0].replace("-", "_"))
        operation, words = xform_name(waiter.config.operation), words[1:]
    method = operation.replace("-", "_")
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape
    members = shape.members if shape else {}
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
    answer.pop("ResponseMetadata", None)
    found = jmespath.search(presentation["query"], answer) if "query" in presentation else answer
    return shown(found, presentation.get("output", "")) if found != {} else None


def value(shape: Shape, words: list[str]) -> Any:
    """Return an option's words as what the operation takes."""
    if shape.type_name == "boolean" and not words:
        return True
    if shape.type_name == "list":
        return words
    (word,) = words
    if shape.type_name == "structure":
        # Either JSON, or Name=value pairs.
        if word.startswith("{"):
            return json.loads(word)
        pairs = dict(pair.split("=", 1) for pair in word.split(","))
        return {name: value(shape.members[name], [text]) for name, text in pairs.items()}
    if shape.type_name == "boolean":
        return {"true": True, "false": False}[word]
    return int(word) if shape.type_name == "integer" else word


def shown(found: Any, output: str) -> str:
    """Return an answer as it is printed: lists of texts a line with tabs, nothing as None."""
    if hasattr(found, "isoformat"):
        return str(found.isoformat())
    if isinstance(found, list) and output == "text":
        return "\t".join(str(each) for each in found)
    return str(found)


if __name__ == "__main__":
    try:
        answered = call(sys.argv[1], sys.argv[2], sys.argv[3:])
    except ClientError as error:
        print(f"aws: {error}", file=sys.stderr)
        sys.exit(FAILED)
    if answered is not None:
        print(answered)
