"""The image registry: one image a commit, built once, and tags that never move.

An image is published as `sha-<commit>`. `deploy/deploy.py` puts `staged-<commit>` on the same digest when staging has
passed, and the version's tag when production has. Tags are immutable and nothing is built twice, so production runs
the very bytes that staging ran.

    images.py publish --repository URI --commit SHA
"""

# A command line tool: it prints and runs commands, without a shell.
# ruff: noqa: T201, S603

import argparse
import base64
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef

ROOT = Path(__file__).resolve().parent.parent
COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Every kind of manifest, so that the registry hands out the stored one and converts nothing: its bytes are the digest.
MANIFEST_TYPES = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]
# A throttled call is tried again; a registry that is away must not hold a deployment for ever.
PATIENCE = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 5})


class DeliveryError(Exception):
    """What was asked for cannot be done; the message is the one line that the pipeline ends with."""


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Turn what AWS refuses in the block into one line that says what was being done."""
    try:
        yield
    except ClientError as error:
        refusal = error.response.get("Error", {})
        raise DeliveryError(f"{what}: {refusal.get('Code')}: {refusal.get('Message')}") from error
    except BotoCoreError as error:
        raise DeliveryError(f"{what}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image in the registry."""

    digest: str
    tags: frozenset[str]

    @property
    def commit(self) -> str:
        """The commit that it was built from."""
        commits = [tag.removeprefix("sha-") for tag in self.tags if tag.startswith("sha-")]
        if len(commits) != 1 or not COMMIT.fullmatch(commits[0]):
            raise DeliveryError(f"image {self.digest} has no sha-<commit> tag: it was not published from main")
        return commits[0]


class Registry:
    """One repository of ECR."""

    def __init__(self, client: "ECRClient", uri: str) -> None:
        self.uri = uri
        host, _, self.name = uri.partition("/")
        self._account = host.partition(".")[0]
        self._client = client

    def find(self, reference: str) -> Image | None:
        """Return the image with this tag or digest, or None."""
        identifier: ImageIdentifierTypeDef = (
            {"imageDigest": reference} if DIGEST.fullmatch(reference) else {"imageTag": reference}
        )
        with doing(f"looking for {reference} in {self.name}"):
            try:
                found = self._client.describe_images(
                    registryId=self._account, repositoryName=self.name, imageIds=[identifier]
                )["imageDetails"]
            except self._client.exceptions.ImageNotFoundException:
                return None
        return Image(digest=found[0]["imageDigest"], tags=frozenset(found[0].get("imageTags", [])))

    def tag(self, image: Image, tag: str) -> None:
        """Give an image one more tag; the bytes, and so the digest, stay. Doing it twice is doing it once."""
        with doing(f"tagging {image.digest} as {tag}"):
            stored = self._client.batch_get_image(
                registryId=self._account,
                repositoryName=self.name,
                imageIds=[{"imageDigest": image.digest}],
                acceptedMediaTypes=MANIFEST_TYPES,
            )["images"]
            if not stored:
                raise DeliveryError(f"tagging {image.digest} as {tag}: it is not in {self.name}")
            try:
                self._client.put_image(
                    registryId=self._account,
                    repositoryName=self.name,
                    imageManifest=stored[0]["imageManifest"],
                    imageManifestMediaType=stored[0].get("imageManifestMediaType", MANIFEST_TYPES[0]),
                    imageTag=tag,
                    imageDigest=image.digest,
                )
            except (
                self._client.exceptions.ImageAlreadyExistsException,
                self._client.exceptions.ImageTagAlreadyExistsException,
            ) as error:
                holder = self.find(tag)
                if holder is None or holder.digest != image.digest:
                    raise DeliveryError(f"tag {tag} is another image's already, and tags never move") from error

    def log_in(self) -> None:
        """Let docker push here."""
        with doing("asking for a password to the registry"):
            token = self._client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        # Through a pipe: arguments are for every process on the machine to read.
        run("docker", "login", "--username", user, "--password-stdin", self.uri.partition("/")[0], text=password)


def run(*command: str, text: str | None = None) -> None:
    """Run a command in the checkout; its failure is ours."""
    sys.stdout.flush()
    shown = " ".join(command[:2])
    try:
        subprocess.run(command, cwd=ROOT, input=text, text=True, check=True)
    except FileNotFoundError as error:
        raise DeliveryError(f"there is no {command[0]} command") from error
    except subprocess.CalledProcessError as error:
        raise DeliveryError(f"{shown} failed (exit code {error.returncode}): the reason is above") from error


def publish(registry: Registry, commit: str) -> Image:
    """Build, check and push the image of a commit, unless it is there already; return what the registry holds."""
    if not COMMIT.fullmatch(commit):
        raise DeliveryError(f"the commit is {commit!r}: it must be 40 hexadecimal digits")
    tag = f"sha-{commit}"
    image = registry.find(tag)
    if image is not None:
        print(f"{tag} is published already: nothing is built")
        return image
    name = f"{registry.uri}:{tag}"
    run("devtools/docker.sh", "image", name, commit)
    run("checks/check-image", name)
    registry.log_in()
    try:
        run("docker", "push", "--quiet", name)
    except DeliveryError:
        # Another run of the same commit may have been faster: then its image is the image.
        image = registry.find(tag)
        if image is None:
            raise
        print(f"{tag} was published by another run meanwhile")
        return image
    image = registry.find(tag)
    if image is None:
        raise DeliveryError(f"{tag} was pushed, but {registry.name} does not have it")
    return image


def main(arguments: Sequence[str]) -> int:
    """Do one verb."""
    parser = argparse.ArgumentParser(description="Publish the image of a commit, once.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("publish")
    verb.add_argument("--repository", required=True, help="ACCOUNT.dkr.ecr.REGION.../NAME")
    verb.add_argument("--commit", required=True)
    options = parser.parse_args(arguments)
    try:
        with doing("connecting to AWS"):
            registry = Registry(boto3.client("ecr", config=PATIENCE), options.repository)
        image = publish(registry, options.commit)
    except DeliveryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{image.digest} is the image of commit {image.commit}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
