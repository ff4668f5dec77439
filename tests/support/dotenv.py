"""Files in the place of `.env` that are no text: a function that makes each, and the error about it."""

import os
from collections.abc import Callable
from pathlib import Path

# What people have for a .env: how it comes about, and what is said of it.
NOT_TEXT: dict[str, tuple[Callable[[Path], object], str]] = {
    "UTF-16": (lambda path: path.write_text("PORT=8001\n", "utf-16"), r"^\.env is in UTF-16: save it as UTF-8$"),
    "UTF-16, the other way round": (
        lambda path: path.write_bytes(b"\xfe\xff" + "PORT=8001\n".encode("utf-16-be")),
        r"^\.env is in UTF-16: save it as UTF-8$",
    ),
    "UTF-16 without a mark": (lambda path: path.write_text("PORT=8001\n", "utf-16-le"), r"^\.env has a NUL in it"),
    "Latin-1": (lambda path: path.write_bytes(b"A=1\nB=caf\xe9\n"), r"^\.env is not in UTF-8.*: save it as UTF-8$"),
    "a NUL": (lambda path: path.write_bytes(b"PORT=80\x0001\n"), r"^\.env has a NUL in it"),
    "a folder": (lambda path: path.mkdir(), r"^\.env is a folder: remove it"),
    "a link to a folder": (lambda path: path.symlink_to("/tmp"), r"^\.env is a folder: remove it"),  # noqa: S108
    "a link to nothing": (lambda path: path.symlink_to("gone"), r"^\.env is a link that leads to no file"),
    "a link to itself": (lambda path: path.symlink_to(".env"), r"^\.env is a link that leads to no file"),
    "a pipe": (os.mkfifo, r"^\.env is not a file: remove it"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), r"^\.env is not a file: remove it"),
}
if os.geteuid():
    # Root reads everything.
    NOT_TEXT["secret"] = (
        lambda path: (path.touch(), path.chmod(0)),
        r"^\.env cannot be read \(Permission denied\): chmod",
    )
