"""Fake AWS for the deploy scripts: ECR with real digests by moto, and clients of other services."""

import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto import mock_aws

from deploy.images import Registry

REGION = "eu-central-1"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@contextmanager
def registry() -> Iterator[tuple[Registry, Any]]:
    """A repository as Terraform makes it: its tags are immutable."""
    with mock_aws():
        client = client_of("ecr")
        uri = client.create_repository(repositoryName="app", imageTagMutability="IMMUTABLE")["repository"][
            "repositoryUri"
        ]
        yield Registry(client, uri), client


def push(client: Any, *tags: str, content: str = "an image", repository: str = "app") -> str:
    """Put an image with these tags; return its digest."""
    layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 1}
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": sha256(content)}
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer | {"digest": sha256("layer")}]}
    )
    for tag in tags:
        client.put_image(
            repositoryName=repository,
            imageManifest=manifest,
            imageManifestMediaType=MANIFEST,
            imageTag=tag,
            # Left to itself, moto makes a digest of the layers alone.
            imageDigest=sha256(manifest),
        )
    return sha256(manifest)


def sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def digests(client: Any) -> dict[str, str]:
    """Return the digest of each tag in the repository."""
    images = client.describe_images(repositoryName="app")["imageDetails"]
    return {tag: image["imageDigest"] for image in images for tag in image.get("imageTags", [])}


@functools.cache
def client_of(service: str) -> Any:
    """Make a client once: reading a service's model takes longer than a test."""
    keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "unused")
    return boto3.client(service, region_name=REGION, **keys)
