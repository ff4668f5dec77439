"""Pages of the documentation: their headings, links, code and blocks of commands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (not run|run by): ((?:(?!-->).)+) -->\s*$", re.DOTALL)
COMMANDS = {"bash", "console", "sh"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of commands, and the mark in the comment above it: `run by: <tests>` or `not run: <reason>`."""

    language: str
    text: str
    mark: str = ""
    detail: str = ""

    def commands(self) -> list[str]:
        """Return the commands without their comments; a line that ends with a backslash or a pipe goes on."""
        whole = re.sub(r"(\\|\|)\n\s*", r"\1 ", self.text)
        lines = (re.sub(r"(^|\s)#\s.*", "", line).strip() for line in whole.splitlines())
        return [line for line in lines if line]


@dataclass(frozen=True)
class Page:
    """A page in Markdown."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def prose(self) -> str:
        """Return the page without its fenced blocks and comments."""
        return re.sub(r"<!--.*?-->", "", FENCE.sub("", self.text), flags=re.DOTALL)

    def code(self) -> str:
        """Return what is in backticks and in blocks, a piece a line."""
        spans = re.findall(r"`([^`]+)`", self.prose())
        return "\n".join(
            [*(" ".join(span.split()) for span in spans), *(match[3] for match in FENCE.finditer(self.text))]
        )

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks of commands."""
        for match in FENCE.finditer(self.text):
            if match[2] in COMMANDS:
                mark = MARK.search(self.text[: match.start()])
                found = {"mark": mark[1], "detail": " ".join(mark[2].split())} if mark else {}
                yield Block(language=match[2], text=match[3], **found)

    def anchors(self) -> set[str]:
        """Return the anchors of the headings, as GitHub makes them."""
        found: set[str] = set()
        for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", self.text), re.MULTILINE):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
            slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            number = sum(1 for anchor in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", anchor))
            found.add(f"{slug}-{number}" if number else slug)
        return found

    def links(self) -> list[str]:
        """Return the targets of the links and pictures that stay in the repository."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose())
        return [target for target in targets if not re.match(r"https?:|mailto:", target)]


def pages() -> list[Page]:
    """Return every page of the repository."""
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob(".github/**/*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/**/*.md"),
    ]
    return [Page(path) for path in sorted(found)]
