"""Line ends of a clone with core.autocrlf: every file equals the committed one byte for byte."""

import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def git(*arguments: str | Path, at: Path = ROOT) -> bytes:
    # In a container the tree may belong to somebody else.
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, cwd=at, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "settings",
    [("core.autocrlf=true",), ("core.autocrlf=false", "core.eol=crlf"), ("core.autocrlf=input",)],
    ids=["autocrlf", "eol", "input"],
)
def test_no_line_of_a_clone_ends_with_crlf(tmp_path, settings):
    # The files as they are here, also those that are not committed yet.
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    git("init", "--quiet", origin, at=tmp_path)
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0")[:-1]
    committed = {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}
    for name, content in committed.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_bytes(content)
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "core.autocrlf=false")
    git(*who, "add", "--all", "--force", at=origin)
    git(*who, "commit", "--quiet", "--message=All", at=origin)

    turned = [argument for setting in settings for argument in ("--config", setting)]
    git("clone", "--quiet", *turned, origin, clone, at=tmp_path)

    cloned = {name: (clone / name).read_bytes() for name in committed}
    assert [name for name in committed if cloned[name] != committed[name]] == []
    assert [name for name, content in cloned.items() if b"\r\n" in content and b"\0" not in content] == []
    assert git("status", "--porcelain", at=clone) == b""
    # What git takes for binary is what the file says, and not a guess.
    guessed = [
        line.split("\t")[1] for line in git("ls-files", "--eol", at=clone).decode().splitlines() if "i/-text" in line
    ]
    assert [
        name
        for name in guessed
        if b": -text" not in git("check-attr", "text", name, at=clone).replace(b"unset", b"-text")
    ] == []
