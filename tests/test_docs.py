"""Links and paths in the security documents: each leads to a file that is there."""

import re

import pytest

from tests.support.paths import ROOT

LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
# Text in backticks that begins like a path of the checkout, or is one of its files at the top.
PATH = re.compile(
    r"`((?:\.github|apps|checks|config|deploy|devtools|docker|docs|monitoring|server|tests)/[^`\s]+|[\w.-]+\.(?:lock|md|toml|yml))`"
)


@pytest.mark.parametrize(
    "name", ["SECURITY.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/threat-model.md"))]
)
def test_every_path_leads_somewhere(name):
    page = ROOT / name
    text = page.read_text(encoding="utf-8")
    linked = {page.parent / link for link in LINK.findall(text) if "://" not in link}
    named = {ROOT / path for path in PATH.findall(text)}

    assert linked
    assert named
    assert [str(path) for path in sorted(linked | named) if not path.exists()] == []
