"""Unreadable `.env` files: a function that creates each, and the expected error."""

import os
from collections.abc import Callable
from pathlib import Path


def file_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def create_unreadable(path: Path) -> None:
    path.touch()
    path.chmod(0)


IN_UTF_16 = r"^\.env is in UTF-16: save it as UTF-8$"
HAS_A_NUL = r"^\.env has a NUL in it"
IS_A_FOLDER = r"^\.env is a folder: remove it"
IS_NO_FILE = r"^\.env is not a file: remove it"
LEADS_NOWHERE = r"^\.env is a link that leads to no file"

NOT_TEXT: dict[str, tuple[Callable[[Path], object], str]] = {
    "UTF-16": (file_of("PORT=8001\n".encode("utf-16")), IN_UTF_16),
    "UTF-16, the other way round": (file_of(b"\xfe\xff" + "PORT=8001\n".encode("utf-16-be")), IN_UTF_16),
    "UTF-16 without a mark": (file_of("PORT=8001\n".encode("utf-16-le")), HAS_A_NUL),
    "Latin-1": (file_of(b"A=1\nB=caf\xe9\n"), r"^\.env is not in UTF-8.*: save it as UTF-8$"),
    "a NUL": (file_of(b"PORT=80\x0001\n"), HAS_A_NUL),
    "a folder": (Path.mkdir, IS_A_FOLDER),
    "a link to a folder": (link_to("/tmp"), IS_A_FOLDER),  # noqa: S108  any folder will do
    "a link to nothing": (link_to("gone"), LEADS_NOWHERE),
    "a link to itself": (link_to(".env"), LEADS_NOWHERE),
    "a pipe": (os.mkfifo, IS_NO_FILE),
    "a device": (link_to("/dev/zero"), IS_NO_FILE),
}
if os.geteuid():
    # Root reads everything.
    NOT_TEXT["secret"] = (create_unreadable, r"^\.env cannot be read \(Permission denied\): chmod")
