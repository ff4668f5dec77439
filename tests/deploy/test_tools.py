"""The deployment scripts' own environment: what boto3 needs."""

import importlib.metadata
import re
import signal
import subprocess
import sys

from deploy import tools
from tests.support.paths import ROOT
from tests.support.patience import HANG_S

NAMES = set(re.findall(r"^([\w-]+)==", tools.LIST.read_text(), re.MULTILINE))


def test_the_list_is_boto3_and_all_that_it_needs():
    needed = {"boto3"}
    for _ in range(5):
        asked = [each for name in needed for each in importlib.metadata.requires(name) or [] if "extra ==" not in each]
        needed |= {re.match(r"[\w-]+", each)[0] for each in asked}
    assert needed <= NAMES
    assert len(NAMES) <= 10


def test_every_script_of_a_deployment_runs_with_nothing_else():
    """Without the packages of the tests: each import that is not there would fail."""
    allowed = sorted(name.replace("-", "_") for name in NAMES)
    program = f"""
import sys
from importlib.metadata import packages_distributions
names = {{n for n, d in packages_distributions().items() if not {{x.replace("-", "_") for x in d}} & set({allowed})}}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names - {{"deploy"}}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import deploy.deploy, deploy.run_task, deploy.prepare_database
"""
    outcome = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert outcome.returncode == 0, outcome.stderr


def test_a_cancelled_job_reaches_the_script(tmp_path):
    """GitHub's runner sends SIGINT to the step's shell alone, and SIGTERM some seconds later."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time\nfrom deploy.tasks import interrupted_by_signals\nwith interrupted_by_signals():\n"
        f"    try:\n        print('started', flush=True)\n        time.sleep({HANG_S})\n"
        "    except KeyboardInterrupt:\n        print('interrupted', flush=True)\n"
    )
    (tmp_path / "Makefile").write_text(f"SHELL := /bin/bash\ndeploy:\n\t@PYTHONPATH={ROOT} {sys.executable} {script}\n")
    (tmp_path / "step.sh").write_text("exec make --no-print-directory deploy\n")
    with subprocess.Popen(["/bin/bash", "-e", "step.sh"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as step:
        assert step.stdout is not None
        assert step.stdout.readline() == "started\n"
        for sent in (signal.SIGINT, signal.SIGTERM):
            step.send_signal(sent)

        assert step.stdout.readline() == "interrupted\n"
