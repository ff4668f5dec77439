"""Choice of the runtime by `devtools/run`, and Docker commands of `devtools/docker.sh`, with stand-ins for both programs."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.dotenv import NOT_TEXT
from tests.support.paths import ROOT

# Prints its arguments; an engine answers where the file `engine` is.
DOCKER = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
    "info "*) [ -e "$here/engine" ] && echo 28.0 ;;
    *" config --quiet") [ -e "$here/compose" ] ;;
    "images "* | *" port "*) ;;
    # Compose fills in what is set, in the shell's own syntax; this one reads no .env.
    *"--file - config") eval "cat <<END
$(cat)
END" ;;
    *) echo "docker $*"; printf '%s' "$PIP_CONF" >"$here/pip.conf"; echo "$POETRY_PYPI_MIRROR_URL" >"$here/mirror" ;;
esac
"""
PYTHON = """#!/bin/sh
case "$1" in
    -c) exit 0 ;;
    *) echo "python $*" ;;
esac
"""


# `config` needs no engine.
COMPOSE_IS_INSTALLED = (
    shutil.which("docker") is not None
    and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0  # noqa: S607
)


class Machine:
    """A machine whose programs are stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.install("docker", DOCKER)
        self.install("python3.13", PYTHON)

    def install(self, name: str, content: str = "") -> None:
        (self.folder / name).write_text(content)
        (self.folder / name).chmod(0o755)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.folder}:{os.defpath}", "HOME": str(self.folder), **variables}
        return subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, check=False)

    def run_devtools(self, *verb: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("devtools/run", *verb, **variables)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def with_docker(machine: Machine) -> Machine:
    machine.install("engine")
    machine.install("compose")
    return machine


class TestChoice:
    def test_an_engine_that_answers_is_used(self, with_docker):
        result = with_docker.run_devtools("down")

        assert result.stdout.splitlines()[0] == "runtime: docker (an engine answers; RUNTIME=native overrides)"
        assert (
            "docker compose --file compose.local.yml --file compose.test.yml --profile redis --profile monitoring "
            "--profile replica down" in result.stdout
        )

    def test_a_client_without_an_engine_is_not(self, machine):
        result = machine.run_devtools("down")

        assert result.stdout.splitlines() == [
            "runtime: native (no Docker engine answers; RUNTIME=docker overrides)",
            "python -m devtools.native down",
        ]

    def test_an_engine_without_compose_is_not(self, machine):
        machine.install("engine")
        result = machine.run_devtools("down")

        assert result.stdout.startswith("runtime: native (Docker Compose is missing, older than 2.24")

    def test_a_person_decides(self, with_docker):
        result = with_docker.run_devtools("tool", "ruff", "check", RUNTIME="native")

        assert result.stdout.splitlines() == [
            "runtime: native (RUNTIME is set)",
            "python -m devtools.native tool ruff check",
        ]

    def test_a_person_is_told_when_it_cannot_be(self, machine):
        result = machine.run_devtools("up", RUNTIME="docker")

        assert result.returncode != 0
        assert result.stderr == "error: RUNTIME=docker, but no Docker engine answers\n"

    def test_a_wrong_word_is_named(self, machine):
        result = machine.run_devtools("up", RUNTIME="podman")

        assert result.returncode != 0
        assert result.stderr == "error: RUNTIME is 'podman': it must be docker, native, or not set\n"


class TestDotenv:
    @pytest.fixture
    def checkout(self, tmp_path) -> Path:
        """A checkout of which only these scripts are there."""
        folder = tmp_path / "checkout"
        (folder / "devtools").mkdir(parents=True)
        for name in ("run", "docker.sh", "print-urls"):
            shutil.copy(ROOT / "devtools" / name, folder / "devtools")
        return folder

    @pytest.mark.parametrize("runtime", ["docker", "native", ""])
    @pytest.mark.parametrize("kind", NOT_TEXT)
    def test_that_is_no_text_is_one_line_that_names_it(self, with_docker, checkout, runtime, kind):
        make, complaint = NOT_TEXT[kind]
        make(checkout / ".env")

        result = with_docker.run(f"{checkout}/devtools/run", "up", RUNTIME=runtime)

        (line,) = result.stderr.splitlines()
        assert re.search(complaint, line.removeprefix("error: "))
        assert (result.returncode, result.stdout) == (1, "")

    @pytest.mark.parametrize("text", ["", "PORT=8001\n", "NAME=é\n", "\ufeffPORT=8001\r\n"])
    def test_that_is_text_is_taken(self, with_docker, checkout, text):
        (checkout / ".env").write_bytes(text.encode())

        assert with_docker.run(f"{checkout}/devtools/run", "tool", "true").returncode == 0

    @pytest.mark.skipif(not COMPOSE_IS_INSTALLED, reason="Docker Compose reads the file")
    @pytest.mark.parametrize(
        "line", ["PORT=8001", "\ufeffPORT=8001\r", "PORT='8001'\r", 'export PORT="8001" # a remark', "PORT = 8001  "]
    )
    def test_says_the_port_as_compose_reads_it(self, with_docker, checkout, line):
        (checkout / ".env").write_bytes(f"{line}\nDB_PORT=18998\nMETRICS_PORT=18997\n".encode())
        real = f'*"--file - config") exec {shutil.which("docker")} "$@" ;;\n    *) echo'
        with_docker.install("docker", DOCKER.replace(' *"--file - config")', " never)").replace("*) echo", real))

        result = with_docker.run(f"{checkout}/devtools/run", "up")

        assert "http://localhost:8001/ping/" in result.stdout, result.stderr


class TestShell:
    @pytest.mark.parametrize("runtime", ["native", "docker"])
    def test_what_it_has_for_other_work_is_set_aside(self, with_docker, runtime):
        command = 'echo "${PYTHONSAFEPATH-no} ${PYTHONHOME-no} ${PYTHON_GIL-no} ${DJANGO_SETTINGS_MODULE-no}"'
        with_docker.install("python3.13", f"#!/bin/sh\n[ $1 = -c ] || {command}\n")
        with_docker.install("docker", DOCKER.replace("*) echo", f"*) {command}; echo"))
        foreign = {"PYTHONSAFEPATH": "1", "PYTHONHOME": "/nowhere", "PYTHON_GIL": "0"}

        for module, expected in (("mysite.settings", "no"), ("config.settings.staging", "config.settings.staging")):
            result = with_docker.run_devtools(
                "local", "true", RUNTIME=runtime, DJANGO_SETTINGS_MODULE=module, **foreign
            )
            assert f"no no no {expected}" in result.stdout.splitlines()

    def test_the_python_that_it_names_is_used(self, machine):
        machine.install("another", PYTHON)

        assert machine.run_devtools("build", PYTHON=str(machine.folder / "another")).stdout.endswith(
            "-m devtools.native build\n"
        )


class TestPython:
    def test_one_that_does_not_run_is_passed_over(self, machine):
        machine.install("python3.13", "#!/bin/sh\nexit 127\n")
        machine.install("python3.12", PYTHON)

        assert machine.run_devtools("build").stdout.endswith("python -m devtools.native build\n")

    def test_one_that_cannot_make_environments_is_named(self, machine):
        lame = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n'
        for name in ("python3.13", "python3.12", "python3.11", "python3", "python"):
            machine.install(name, lame)

        result = machine.run_devtools("build")

        assert result.returncode != 0
        assert "error: python3.13 cannot make virtual environments" in result.stderr
        assert "apt install python3.13-venv" in result.stderr

    def test_none_is_an_error_that_names_both_ways_out(self, machine):
        for name in ("python3.13", "python3.12", "python3.11", "python3", "python"):
            machine.install(name, "#!/bin/sh\nexit 1\n")

        result = machine.run_devtools("build")

        assert result.returncode != 0
        assert "neither a Docker engine nor a Python 3.11 or newer" in result.stderr


class TestDocker:
    @pytest.mark.parametrize("name", ["PORT", "METRICS_PORT"])
    def test_a_taken_port_is_named_with_its_variable(self, with_docker, name):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = with_docker.run_devtools("up", **({"PORT": "18999", "METRICS_PORT": "18997"} | {name: str(port)}))

        assert result.returncode != 0
        assert (
            f"error: port {port} is taken: stop what uses it, or set {name}: make {name}={port + 1} ..."
            in result.stderr
        )

    @pytest.mark.parametrize(("verb", "prefix"), [("local", ""), ("test", "TEST_")])
    def test_servers_of_your_own_are_the_ones_that_are_used(self, with_docker, verb, prefix):
        urls = {"DATABASE_URL": "postgres://me@elsewhere/mine", "REDIS_URL": "redis://elsewhere"}

        result = with_docker.run_devtools(verb, "true", **{f"{prefix}{name}": url for name, url in urls.items()})

        assert " up " not in result.stdout

    # <sample>
    @pytest.mark.parametrize(("gate", "started"), [("off", False), ("redis", True)])
    def test_redis_comes_with_the_gate(self, with_docker, gate, started):
        result = with_docker.run_devtools("up", LEDGER_GATE=gate, PORT="18999", DB_PORT="18998", METRICS_PORT="18997")

        assert ("up --detach --wait redis" in result.stdout) is started

    # </sample>

    def test_monitoring_is_beside_the_application_and_a_taken_port_is_named(self, with_docker):
        ports = {"PORT": "18999", "DB_PORT": "18998", "METRICS_PORT": "18997", "GRAFANA_PORT": "18995"}
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = with_docker.run_devtools("monitoring", **ports, PROMETHEUS_PORT=str(port))

        assert "up --detach --wait --no-deps app" in result.stdout
        assert result.returncode != 0
        assert f"port {port} is taken: stop what uses it, or set PROMETHEUS_PORT" in result.stderr

    @pytest.mark.parametrize(
        ("url", "started"),
        [("", False), ("postgres://me@elsewhere/mine", False), ("postgres://app:app@replica:5432/app", True)],
    )
    def test_a_replica_comes_with_the_url_that_names_it(self, with_docker, url, started):
        ports = {"PORT": "18999", "DB_PORT": "18998", "METRICS_PORT": "18997"}

        result = with_docker.run_devtools("up", REPLICA_DATABASE_URL=url, **ports)

        assert ("up --detach --wait replica" in result.stdout) is started

    def test_traffic_comes_from_inside_the_application_s_container(self, with_docker):
        result = with_docker.run_devtools("traffic", "--seconds", "5")

        assert result.stdout.splitlines()[-1] == (
            "docker compose --file compose.local.yml exec --no-TTY app python -m devtools.example_traffic --seconds 5"
        )

    def test_commands_need_no_terminal(self, with_docker):
        result = with_docker.run_devtools("tool", "ruff", "check")

        assert result.stdout.splitlines()[-1] == (
            "docker compose --file compose.test.yml run --rm --no-deps --no-TTY tests ruff check"
        )

    def test_the_deployed_image_is_one_manifest_that_names_its_commit(self, with_docker):
        result = with_docker.run("devtools/docker.sh", "image", "app:test", "0123abcd")

        (command,) = result.stdout.splitlines()
        assert command.startswith("docker buildx build --load --provenance=false --sbom=false ")
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert command.endswith(
            f"--build-arg REVISION=0123abcd --build-arg VERSION={project['version']}"
            f" --label org.opencontainers.image.title={project['name']} --file docker/Dockerfile --tag app:test ."
        )

    def test_an_index_that_pip_knows_reaches_the_build(self, with_docker):
        with_docker.install("python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (with_docker.folder / ".config" / "pip").mkdir(parents=True)
        (with_docker.folder / ".config" / "pip" / "pip.conf").write_text(
            "[install]\nindex-url = https://one.example/simple\n"
            "[global]\nindex-url = https://zero.example/simple\nextra-index-url =\n"
            "    https://two.example/simple\n    file:///here/only\nfind-links = /here/only\n"
            "[freeze]\nindex-url = https://other.example\n"
        )

        with_docker.run_devtools("build", PIP_TRUSTED_HOST="one.example")
        lines = (with_docker.folder / "pip.conf").read_text().splitlines()
        assert lines[0] == "[global]"
        assert sorted(lines[1:]) == [
            "extra-index-url = https://two.example/simple",
            "index-url = https://one.example/simple",
            "trusted-host = one.example",
        ]

        with_docker.run_devtools("build", PIP_INDEX_URL="https://three.example/simple")
        assert "index-url = https://three.example/simple" in (with_docker.folder / "pip.conf").read_text().splitlines()

    def test_without_pip_an_index_in_a_variable_reaches_the_build(self, with_docker):
        for name in ("pip3", "python3"):
            with_docker.install(name, "#!/bin/sh\nexit 127\n")

        with_docker.run_devtools("build", PIP_INDEX_URL="https://three.example/simple")
        assert (with_docker.folder / "pip.conf").read_text() == "[global]\nindex-url = https://three.example/simple"

    def test_no_index_that_pip_knows_is_no_configuration(self, with_docker):
        with_docker.install("python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        only_here = with_docker.folder / "only-here.conf"
        only_here.write_text("[global]\nextra-index-url = file:///here/only\n")

        with_docker.run_devtools("build", PIP_CONFIG_FILE=str(only_here))
        assert (with_docker.folder / "pip.conf").read_text() == ""

    @pytest.mark.parametrize(
        ("variables", "mirror"),
        [
            ({"PIP_INDEX_URL": ""}, ""),
            ({"PIP_INDEX_URL": "https://one.example/simple"}, "https://one.example/simple"),
            (
                {"PIP_INDEX_URL": "https://one.example/simple", "POETRY_PYPI_MIRROR_URL": "https://two.example/simple"},
                "https://two.example/simple",
            ),
        ],
    )
    @pytest.mark.parametrize(
        ("target", "command"),
        [
            (["add", "PACKAGE=django-waffle>=5,<6"], "poetry add --lock -- django-waffle>=5,<6"),
            (["add", "PACKAGE=ruff", "GROUP=dev"], "poetry add --lock --group dev -- ruff"),
            (["lock"], "poetry lock"),
        ],
    )
    def test_poetry_resolves_on_the_index_that_pip_knows(self, with_docker, target, command, variables, mirror):
        # This machine's own configuration is not part of the test.
        no_index = with_docker.folder / "no-index.conf"
        no_index.write_text("[global]\nindex-url =\n")
        result = with_docker.run("make", *target, PIP_CONFIG_FILE=str(no_index), **variables)

        # In the container's environment, and not on a command line: there may be a password in it.
        assert (with_docker.folder / "mirror").read_text() == f"{mirror}\n"
        container = "docker compose --file compose.test.yml run --rm --no-deps --no-TTY tests"
        runs = [line for line in result.stdout.splitlines() if " run " in line]
        assert runs == [f"{container} {command}", f"{container} devtools/export-lists"]


class TestAdd:
    @pytest.mark.parametrize(
        ("words", "error"),
        [
            ([], "error: name the package: make add PACKAGE=django-waffle"),
            (["PACKAGE=x", "GROUP=production"], "error: GROUP must be dev, or not set"),
        ],
    )
    def test_what_cannot_be_added_is_one_sentence(self, machine, words, error):
        result = machine.run("make", "add", *words)

        assert (result.returncode, result.stdout, result.stderr.splitlines()[0]) == (2, "", error)


def test_compose_passes_on_what_the_example_env_offers():
    offered = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    for_make = {"PORT", "DB_PORT", "TEST_DB_PORT", "TEST_DATABASE_URL", "TEST_REDIS_URL"}
    for_make |= {"PROMETHEUS_PORT", "GRAFANA_PORT"}

    compose = (ROOT / "compose.local.yml").read_text()

    assert offered - for_make == {
        name for name in offered - for_make if re.search(rf"^      {name}:", compose, re.MULTILINE)
    }
