"""The image registry (ECR): publish one image per commit, and add immutable tags to it.

    python -m deploy.images publish --repository URI --commit SHA
    python -m deploy.images scan --repository URI sha-<commit> v1.2.3

An image is published as `sha-<commit>`. `deploy/deploy.py` tags the same digest `staged-<commit>` after staging has
passed, and with the version after production. `fits-<release>-<commit>` says that the last release's commit was tested on
this commit's schema (`make check-compatibility`), and `schema-<version>-<commit>` which schema that is: two commits with one
version have the same migrations and grants. Both say to which code a rollback is allowed. Tags are immutable and an image is
built once, so production runs exactly what staging ran.
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
SCHEMA = re.compile(r"[0-9a-f]{12}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# All manifest types: the registry then returns the stored manifest unconverted, and its digest stays the same.
MANIFEST_TYPES = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]
# A throttled call is retried; the timeouts keep an unreachable registry from blocking a deployment.
CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 5})


class DeliveryError(Exception):
    """The operation failed; the message is the last line of the pipeline's log."""


@contextlib.contextmanager
def aws_errors(action: str) -> Iterator[None]:
    """Convert AWS errors in the block to a DeliveryError whose one line begins with the action."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        # A proxy answers with a page of HTML.
        message = str(details.get("Message")).partition("\n")[0]
        raise DeliveryError(f"{action}: {details.get('Code')}: {message}") from error
    except BotoCoreError as error:
        raise DeliveryError(f"{action}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image in the registry."""

    digest: str
    tags: frozenset[str]

    @property
    def commit(self) -> str:
        """The commit that the image was built from. Raises: DeliveryError without exactly one tag `sha-<commit>`."""
        commits = [tag.removeprefix("sha-") for tag in self.tags if tag.startswith("sha-")]
        if len(commits) != 1 or not COMMIT.fullmatch(commits[0]):
            raise DeliveryError(f"image {self.digest} has no sha-<commit> tag: it was not published from main")
        return commits[0]

    @property
    def schema(self) -> str:
        """The version of the schema that the image migrates to; empty if it was not tagged with one."""
        found = (re.fullmatch(rf"schema-({SCHEMA.pattern})-{self.commit}", tag) for tag in self.tags)
        return next((match[1] for match in found if match), "")

    def is_fit_for(self, other: "Image") -> bool:
        """Return whether another image's code runs on this image's schema: it is the same one, or was tested on it."""
        same = bool(self.schema) and self.schema == other.schema
        return same or fits(self.commit, other.commit) in self.tags


class Registry:
    """One ECR repository."""

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
        with aws_errors(f"looking for {reference} in {self.name}"):
            try:
                found = self._client.describe_images(
                    registryId=self._account, repositoryName=self.name, imageIds=[identifier]
                )["imageDetails"]
            except self._client.exceptions.ImageNotFoundException:
                return None
        return Image(digest=found[0]["imageDigest"], tags=frozenset(found[0].get("imageTags", [])))

    def tag(self, image: Image, tag: str) -> None:
        """Add a tag to an image; the digest stays the same. Idempotent. Raises: if the tag is on another digest."""
        with aws_errors(f"tagging {image.digest} as {tag}"):
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
                    raise DeliveryError(f"tag {tag} is already on another image, and tags are immutable") from error

    def log_in(self) -> None:
        """Log docker in to this registry."""
        with aws_errors("requesting a registry password"):
            token = self._client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        # Through a pipe: every process on the machine can read arguments.
        run("docker", "login", "--username", user, "--password-stdin", self.uri.partition("/")[0], text=password)


def run(*command: str, text: str | None = None) -> None:
    """Run a command in the checkout. Raises: DeliveryError if it fails or is not installed."""
    sys.stdout.flush()
    try:
        subprocess.run(command, cwd=ROOT, input=text, text=True, check=True)
    except FileNotFoundError as error:
        raise DeliveryError(f"{command[0]}: command not found") from error
    except subprocess.CalledProcessError as error:
        name = " ".join(command[:2])
        raise DeliveryError(f"{name} failed (exit code {error.returncode}): its output is above") from error


def fits(commit: str, before: str) -> str:
    """Return the tag of a commit's image that says that an earlier release's code was tested on its schema."""
    return f"fits-{before}-{commit}"


def schema_tag(commit: str, version: str) -> str:
    """Return the tag of a commit's image that says which schema it migrates to. Raises: for what is no version."""
    if not SCHEMA.fullmatch(version):
        raise DeliveryError(f"the schema's version is {version!r}: it must be 12 hexadecimal digits")
    return f"schema-{version}-{commit}"


def publish(registry: Registry, commit: str) -> Image:
    """Build, check and push the image of a commit unless it is published; return the image in the registry."""
    if not COMMIT.fullmatch(commit):
        raise DeliveryError(f"the commit is {commit!r}: it must be 40 hexadecimal digits")
    tag = f"sha-{commit}"
    image = registry.find(tag)
    if image is not None:
        print(f"{tag} is already published: skipping the build")
        return image
    name = f"{registry.uri}:{tag}"
    run("devtools/docker.sh", "image", name, commit)
    run("checks/check-image", name)
    registry.log_in()
    try:
        run("docker", "push", "--quiet", name)
    except DeliveryError:
        # A parallel run of the same commit may have pushed first: use its image.
        image = registry.find(tag)
        if image is None:
            raise
        print(f"{tag} was published by another run")
        return image
    image = registry.find(tag)
    if image is None:
        raise DeliveryError(f"{tag} was pushed, but is not in {registry.name}")
    return image


def scan(registry: Registry, references: Sequence[str]) -> None:
    """Scan published images (checks/scan-image). Raises: DeliveryError after all, if one is vulnerable or none is there."""
    found = {reference: registry.find(reference) for reference in references}
    images = {reference: image for reference, image in found.items() if image is not None}
    print(
        "\n".join(f"{reference} is not published" for reference in found.keys() - images.keys()) or "all are published"
    )
    if not images:
        raise DeliveryError("there is no image to scan")
    registry.log_in()
    vulnerable = []
    for reference, image in images.items():
        name = f"{registry.uri}@{image.digest}"
        print(f"{reference}:")
        run("docker", "pull", "--quiet", name)
        try:
            run("checks/scan-image", name)
        except DeliveryError:
            vulnerable.append(reference)
    if vulnerable:
        raise DeliveryError(f"{', '.join(vulnerable)}: build and release again, Debian has the fixes listed above")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Publish the image of a commit, or scan published ones.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("publish")
    command.add_argument("--repository", required=True, help="ACCOUNT.dkr.ecr.REGION.../NAME")
    command.add_argument("--commit", required=True)
    command.add_argument("--fits", default="", help="the last release's commit, with which its schema was tested")
    command.add_argument("--schema", required=True, help="the version of its schema: python -m checks.schema_version")
    scanning = commands.add_parser("scan")
    scanning.add_argument("--repository", required=True)
    scanning.add_argument("references", nargs="+", help="tags in the registry")
    options = parser.parse_args(arguments)
    try:
        with aws_errors("connecting to AWS"):
            registry = Registry(boto3.client("ecr", config=CLIENT_CONFIG), options.repository)
        if options.command == "scan":
            scan(registry, options.references)
            return 0
        # Before an image is built that could not be tagged.
        schema = schema_tag(options.commit, options.schema)
        image = publish(registry, options.commit)
        registry.tag(image, schema)
        if options.fits:
            registry.tag(image, fits(options.commit, options.fits))
    except DeliveryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{image.digest} is the image of commit {image.commit}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
