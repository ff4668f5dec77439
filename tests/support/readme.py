"""The requests in README: its bash blocks as one script, sent to a server of the tests in the place of the local one."""

import subprocess

from tests.support.client import Address
from tests.support.docs import Page
from tests.support.paths import ROOT
from tests.support.patience import HANG_S


def run_requests(address: Address) -> str:
    """Run them, and return what they print."""
    script = "\n".join(block.text for block in Page(ROOT / "README.md").blocks() if block.language == "bash")
    assert "http://localhost:8000" in script
    script = script.replace("http://localhost:8000", f"http://{address[0]}:{address[1]}")
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, timeout=HANG_S).stdout
