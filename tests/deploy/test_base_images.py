"""Images of others, in every file that names one: plain tags of lines that are supported, the same everywhere."""

import datetime as dt
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from checks import support_ends
from checks.support_ends import SUPPORTED
from tests.support.paths import ROOT

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
FILES = [
    *ROOT.glob("compose.*.yml"),
    *ROOT.glob("deploy/kubernetes/**/*.yaml"),
    *ROOT.glob("deploy/ecs/**/*.json"),
    ROOT / "checks" / "check-image",
]
# `image: x`, `"image": "x"`, and the one of `docker run`.
NAMED = re.compile(r'"?image"?: *"?([^\s",]+)|\b(postgres:\d\S*) >/dev/null')
# The application's own.
OWN = re.compile(r"app|\$\{IMAGE:.*|\$\{image\}")


def images(path: Path) -> set[str]:
    text = re.sub(r"^\s*#.*", "", path.read_text(), flags=re.MULTILINE)
    found = {match[1] or match[2] for match in NAMED.finditer(text)}
    return {image for image in found if not OWN.fullmatch(image)}


def stages() -> list[str]:
    """Return the images that the Dockerfile starts from, with the default of its argument."""
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    names = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", DOCKERFILE, re.MULTILINE)
    own = {name for _, name in names}
    return [image.replace("${PYTHON}", python) for image, _ in names if image not in own]


EVERY = sorted({*stages(), *(image for path in FILES for image in images(path))})


def test_they_are_found():
    assert {image.partition(":")[0] for image in EVERY} == SUPPORTED.keys() - {"django"}


@pytest.mark.parametrize("image", EVERY)
def test_a_tag_is_plain_and_its_line_is_supported(image):
    """A variable or `latest` is a tag that Dependabot passes over."""
    name, _, tag = image.partition(":")
    line, _ = SUPPORTED[name]

    assert re.fullmatch(rf"{re.escape(line)}([.-][\w.-]+)?", tag)


def test_each_has_one_tag():
    assert len(EVERY) == len({image.partition(":")[0] for image in EVERY})


def test_one_argument_changes_the_images_python():
    assert len(stages()) == 2
    compose = yaml.safe_load((ROOT / "compose.test.yml").read_text())["services"]["tests"]["build"]["args"]
    assert compose["PYTHON"] == f"${{IMAGE_PYTHON:-{SUPPORTED['python'][0]}}}"


def test_django_is_of_its_line():
    packages = tomllib.loads((ROOT / "poetry.lock").read_text())["package"]
    (django,) = (package["version"] for package in packages if package["name"] == "django")

    assert django.startswith(f"{SUPPORTED['django'][0]}.")


@pytest.mark.parametrize(
    ("day", "names"),
    [("2026-11-27", []), ("2027-02-28", []), ("2027-03-01", ["nginx"]), ("2027-05-24", ["nginx", "grafana/grafana"])],
)
def test_an_end_is_told_two_months_before(day, names):
    assert [line.split()[0] for line in support_ends.ending(dt.date.fromisoformat(day))] == names[:2]
