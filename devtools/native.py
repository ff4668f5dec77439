"""Native runtime, without Docker: a virtual environment from docker/requirements/, embedded PostgreSQL, gunicorn.

`devtools/run` calls this with any Python from 3.11 on, so it imports the standard library only. It writes to `.venv/` and
`.local/` alone (and, as root, to the folder of `devtools/embedded_postgres.py`).
"""

# A command line tool: it prints, reads the environment, and runs commands, without a shell.
# ruff: noqa: T201, S603

import codecs
import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from devtools import packages
from devtools import prometheus as on_this_machine
from devtools.daemon import Daemon, DevtoolsError

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCAL = ROOT / ".local"
NATIVE = LOCAL / "native"
TOOLS = NATIVE / "tools"
PYTHON = VENV / "bin" / "python"
APP = Daemon("app", NATIVE)
PROMETHEUS = Daemon("prometheus", NATIVE)

BOOT_SECONDS = 60
# gunicorn drains for DRAIN_SECONDS, locally none, and lets requests in flight end for 30 s.
STOP_SECONDS = 45
PROMETHEUS_STOP_SECONDS = 20
SERVER_ERROR = 500
URL_SETTINGS = {"local": "DATABASE_URL", "test": "TEST_DATABASE_URL"}
# Variables that change libpq (PGHOST, PGSERVICE, PGDATESTYLE), Python (PYTHONSAFEPATH, PYTHONHOME), gunicorn, mypy or
# pytest's plugins, and were set for other work, as those of pip and uv in devtools.packages. This project's settings are
# those of docs/configuration.md; a database is named by its URL. No container inherits them either; a `.env` may set any.
FOREIGN_VARIABLES = re.compile(
    r"PG[A-Z]+|PYTHON\w+|GUNICORN_CMD_ARGS|MYPYPATH|PYTEST_(PLUGINS|DISABLE_PLUGIN_AUTOLOAD)", re.ASCII
)
# Settings of the programs beside the application.
MONITORING_VARIABLES = {"PROMETHEUS_PORT", "GRAFANA_PORT"}


# --- Settings --------------------------------------------------------------------------------------------------------


def read_dotenv(path: Path) -> dict[str, str]:
    """Read a `.env` as Docker Compose does, without running anything in it.

    Compose would expand a `$` outside single quotes: that is refused, so that a value means the same in both runtimes.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"{path.name}, line {number}"
        assignment = re.fullmatch(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)", text, re.ASCII)
        if assignment is None:
            raise DevtoolsError(f"{where}: this is not KEY=value")
        values[assignment[1]] = read_value(assignment[2], where)
    return values


def read_lines(path: Path) -> list[str]:
    """Return the lines of a user's file, none if there is none. Raises: DevtoolsError; `devtools/run` checks the same."""
    if not os.path.lexists(path):
        return []
    name = path.name
    if path.is_dir():
        raise DevtoolsError(f"{name} is a folder: remove it, or make it a file of lines KEY=value (.env.example)")
    if path.is_symlink() and not os.access(path, os.F_OK):
        raise DevtoolsError(f"{name} is a link that leads to no file: mend it or remove it")
    # To read a pipe or a device might block for ever.
    if not path.is_file():
        raise DevtoolsError(f"{name} is not a file: remove it, or make it a file of lines KEY=value (.env.example)")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DevtoolsError(f"{name} cannot be read ({error.strerror}): chmod u+r {name}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DevtoolsError(f"{name} is in UTF-16: save it as UTF-8")
    if b"\0" in content:
        raise DevtoolsError(f"{name} has a NUL in it, so it is not UTF-8 text: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DevtoolsError(f"{name} is not in UTF-8, see line {line}: save it as UTF-8") from error
    return text.split("\n")


def read_value(text: str, where: str) -> str:
    """Return the value after the `=` of an assignment."""
    quoted = re.fullmatch(r"""'(?P<single>[^']*)'\s*(?:#.*)?|"(?P<double>(?:[^"\\]|\\.)*)"\s*(?:#.*)?""", text)
    if quoted is None and text.startswith(("'", '"')):
        raise DevtoolsError(f"{where}: the quotation mark is not closed, or something follows it")
    if quoted is not None and quoted["single"] is not None:
        return quoted["single"]
    value = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip() if quoted is None else quoted["double"]
    if re.search(r"(?<!\\)\$", value):
        raise DevtoolsError(f"{where}: put single quotes round a value that has a $")
    if quoted is not None:
        escapes = {"n": "\n", "r": "\r", "t": "\t"}
        return re.sub(r"\\(.)", lambda match: escapes.get(match[1], match[1]), value)
    return value


def inherited() -> dict[str, str]:
    """Return the environment without variables that were set for other work. See FOREIGN_VARIABLES."""
    variables = {name: value for name, value in packages.environment().items() if not FOREIGN_VARIABLES.fullmatch(name)}
    # Another project's settings.
    if not variables.get("DJANGO_SETTINGS_MODULE", "config.").startswith("config."):
        del variables["DJANGO_SETTINGS_MODULE"]
    return variables


def environment() -> dict[str, str]:
    """Return the environment of commands: the inherited one over `.env`, with this project's programs first in PATH."""
    settings = read_dotenv(ROOT / ".env") | inherited()
    folders = [str(VENV / "bin"), *embedded_programs(), settings.get("PATH", os.defpath)]
    return settings | {"VIRTUAL_ENV": str(VENV), "PATH": os.pathsep.join(folders)}


def embedded_programs() -> list[str]:
    """Return the folder of psql and PostgreSQL's other programs, if it is installed."""
    return [str(folder) for folder in VENV.glob("lib/python3*/site-packages/embedded_postgres/pginstall/bin")]


# --- The virtual environment -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def exclusive_lock(name: str) -> Iterator[None]:
    """Run the block in one process of this checkout at a time.

    Locks: a file in `.local/native/`.
    """
    NATIVE.mkdir(parents=True, exist_ok=True)
    with (NATIVE / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# What serving locally needs, and with the tools of tests and checks.
SERVING = ("main", "local")
EVERYTHING = (*SERVING, "dev")


def build(*lists: str) -> None:
    """Install lists of docker/requirements/ into `.venv`, unless they are; a `.venv` of other lists is made anew."""
    with exclusive_lock("build"):
        current = {name: list_digest(name) for name in EVERYTHING}
        installed = stamps(VENV)
        if not installed.items() <= current.items():
            installed = {}
        missing = [name for name in lists if name not in installed]
        if not missing:
            return
        if not installed:
            if VENV.exists():
                down()  # the running programs are in it
            packages.make_venv(VENV)
        write(
            f"Installing the packages {'of tests and checks' if 'dev' in missing else 'that serve'} into .venv/ (once)"
        )
        packages.install(VENV, *missing)
        lines = (f"{name} {stamp}\n" for name, stamp in current.items() if name in {*installed, *missing})
        (VENV / "made-from").write_text("".join(lines))


def list_digest(name: str) -> str:
    """Return the digest of a list and of the checkout's path, which is in the programs of a virtual environment."""
    return digest((packages.LISTS / f"{name}.txt").read_bytes(), bytes(ROOT))


def stamps(folder: Path) -> dict[str, str]:
    """Return the digests of the lists in a virtual environment; none if it is not whole, or its Python does not run."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError, ValueError):
        subprocess.run([folder / "bin" / "python", "-c", ""], check=True, capture_output=True, env=inherited())
        return dict(line.split() for line in (folder / "made-from").read_text().splitlines())
    return {}


def install_poetry() -> None:
    """Install Poetry, unless it is installed from the same list."""
    wanted = {"poetry": list_digest("poetry")}
    if stamps(TOOLS) != wanted:
        write("Installing Poetry, which changes poetry.lock, into .local/ (once)")
        packages.make_venv(TOOLS)
        packages.install(TOOLS, "poetry")
        (TOOLS / "made-from").write_text(f"poetry {wanted['poetry']}\n")


def poetry_environment() -> dict[str, str]:
    """Return Poetry's environment, with pip's certificate, and with pip's index for the mirror's plugin."""
    env, configured = inherited(), packages.pip_and_its_configuration()[1]
    if "cert" in configured:
        env["REQUESTS_CA_BUNDLE"] = configured["cert"]
    env.setdefault("POETRY_PYPI_MIRROR_URL", configured.get("index-url", ""))
    return env


def digest(*parts: bytes) -> str:
    """Return the SHA-256 of the parts, in hexadecimal digits."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


# --- Databases -------------------------------------------------------------------------------------------------------


def start_databases(env: Mapping[str, str], *clusters: str) -> None:
    """Start embedded servers, except for a database that the user's environment names."""
    for cluster in clusters:
        if not env.get(URL_SETTINGS[cluster]):
            run(PYTHON, "-m", "devtools.embedded_postgres", "start", cluster)


# --- The application -------------------------------------------------------------------------------------------------


def up() -> None:
    """Start the database and the application, and return when it answers."""
    env = environment()
    port, metrics_port = port_of(env), metrics_port_of(env)
    state = APP.running()
    if state is None or state["port"] != port:
        refuse_taken(port)
    if state is None or state.get("metrics_port") != metrics_port:
        refuse_taken(metrics_port, "METRICS_PORT")
    build(*SERVING)
    env = environment()
    start_databases(env, "local")
    run(PYTHON, "manage.py", "migrate", "--noinput", env=env)
    with exclusive_lock("up"):
        settings = fingerprint(env)
        state = APP.running()
        if state is not None and state["settings"] != settings:
            write("The settings have changed: starting the application again")
            APP.stop(within_s=STOP_SECONDS)
            state = None
        if state is None:
            start_app(env, port, settings)
        else:
            write("The application is up already; it reloads when its files change")
        try:
            wait_until_it_answers(port)
        except DevtoolsError:
            APP.show_log_tail()
            if state is None:
                APP.stop(within_s=STOP_SECONDS)
            raise
    run(ROOT / "devtools" / "print-urls", "app", str(port), str(metrics_port))


def port_of(env: Mapping[str, str], name: str = "PORT", default: int = 8000) -> int:
    """Return a port to serve on."""
    text = env.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise DevtoolsError(f"{name} is {text!r}: it must be a number from 1 to 65535")
    return int(text)


def metrics_port_of(env: Mapping[str, str]) -> int:
    """Return the port to serve metrics on."""
    return port_of(env, "METRICS_PORT", 9464)


def fingerprint(env: Mapping[str, str]) -> str:
    """Return a fingerprint of the settings that an application reads when it starts."""
    example = (ROOT / ".env.example").read_text()
    names = {*re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE), *read_dotenv(ROOT / ".env")}
    return digest(*(f"{name}={env.get(name)}".encode() for name in sorted(names - MONITORING_VARIABLES)))


def refuse_taken(port: int, name: str = "PORT", target: str = "up") -> None:
    """Raise if something else listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DevtoolsError(
                f"port {port} is taken ({error.strerror}): stop what uses it, or set {name}:"
                f" make {target} {name}={port + 1}"
            ) from error


def start_app(env: Mapping[str, str], port: int, settings: str) -> None:
    """Start gunicorn in the background."""
    serve = [str(ROOT / "docker" / "entrypoint"), "serve", "--reload", f"--bind=127.0.0.1:{port}"]
    ports = {"port": port, "metrics_port": metrics_port_of(env)}
    APP.start(serve, {"DJANGO_SETTINGS_MODULE": "config.settings.local"} | dict(env), settings=settings, **ports)


def wait_until_it_answers(port: int) -> None:
    """Wait for 200 from /ping/."""
    answer = "nothing"
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        if APP.running() is None:
            raise DevtoolsError("the application ended while it was starting: the reason is above")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping/")
            status = connection.getresponse().status
            answer = f"status {status}"
            if status == http.HTTPStatus.OK:
                return
            if status == SERVER_ERROR:
                break
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise DevtoolsError(f"/ping/ on port {port} answers with {answer}: the reason is above")


def monitoring() -> None:
    """Start the application, and Prometheus if it is installed on this machine."""
    env = environment()
    program = on_this_machine.program(env["PATH"])
    port, metrics = port_of(env, "PROMETHEUS_PORT", 9090), metrics_port_of(env)
    up()
    with exclusive_lock("monitoring"):
        configuration = on_this_machine.configuration(f"127.0.0.1:{metrics}")
        rules = sorted(on_this_machine.CONFIGURATION.rglob("*.yml"))
        settings = digest(configuration.encode(), *(path.read_bytes() for path in rules))
        state = PROMETHEUS.running()
        if state is not None and (state["port"], state["settings"]) != (port, settings):
            write("The settings have changed: starting Prometheus again")
            PROMETHEUS.stop(within_s=PROMETHEUS_STOP_SECONDS)
            state = None
        if state is None:
            refuse_taken(port, "PROMETHEUS_PORT", "monitoring")
            folder = NATIVE / "prometheus"
            folder.mkdir(exist_ok=True)
            (folder / "prometheus.yml").write_text(configuration)
            PROMETHEUS.start(on_this_machine.command(program, folder, port), env, port=port, settings=settings)
        try:
            on_this_machine.wait_until_ready(port, lambda: PROMETHEUS.running() is not None)
        except DevtoolsError:
            PROMETHEUS.show_log_tail()
            PROMETHEUS.stop(within_s=PROMETHEUS_STOP_SECONDS)
            raise
    run(ROOT / "devtools" / "print-urls", "monitoring", str(port))


def traffic(arguments: list[str]) -> None:
    """Send example traffic to the running application."""
    state = APP.running()
    if state is None:
        raise DevtoolsError("the application is not running: `make up` starts it")
    run(sys.executable, "-m", "devtools.example_traffic", f"--url=http://127.0.0.1:{state['port']}", *arguments)


def down() -> None:
    """Stop Prometheus, the application and the embedded servers."""
    if PROMETHEUS.stop(within_s=PROMETHEUS_STOP_SECONDS):
        write("Prometheus: stopped")
    write(f"Application: {'stopped' if APP.stop(within_s=STOP_SECONDS) else 'not running'}")
    for cluster in URL_SETTINGS:
        run(sys.executable, "-m", "devtools.embedded_postgres", "stop", cluster)


def logs() -> NoReturn:
    """Follow the application's log."""
    if not APP.log.exists():
        raise DevtoolsError("there is no log yet: `make up` starts the application")
    os.execvp("tail", ["tail", "-n", "100", "-F", str(APP.log)])  # noqa: S606, S607  no shell is wanted


def shell() -> NoReturn:
    """Open bash with the virtual environment, the settings and both databases."""
    build(*EVERYTHING)
    install_poetry()
    link = VENV / "bin" / "poetry"
    link.unlink(missing_ok=True)
    link.symlink_to(TOOLS / "bin" / "poetry")
    env = poetry_environment() | environment()
    start_databases(env, "local", "test")
    rcfile = NATIVE / "bashrc"
    # The user's own file may put other Pythons first, so PATH is set after it.
    rcfile.write_text('[ -r ~/.bashrc ] && . ~/.bashrc\nPATH=$PROJECT_PATH\nPS1="(app) $PS1"\n')
    env["PROJECT_PATH"] = env["PATH"]
    os.execvpe("bash", ["bash", "--rcfile", str(rcfile)], env)  # noqa: S606, S607  `make shell` opens a shell


def with_poetry(arguments: list[str]) -> NoReturn:
    """Replace this process by a command that finds Poetry in its PATH, on the index that pip is configured for."""
    install_poetry()
    env = poetry_environment()
    env["PATH"] = os.pathsep.join([str(TOOLS / "bin"), env.get("PATH", os.defpath)])
    os.execvpe(arguments[0], arguments, env)  # noqa: S606  no shell is wanted


def clean() -> None:
    """Stop everything and delete the data; `make clean` deletes the files in the checkout."""
    down()
    for cluster in URL_SETTINGS:
        run(sys.executable, "-m", "devtools.embedded_postgres", "remove", cluster)


def command(kind: str, arguments: list[str]) -> NoReturn:
    """Replace this process by a command that needs no database (tool), the local one or the test one."""
    build(*(SERVING if kind == "local" else EVERYTHING))
    env = environment()
    if kind != "tool":
        start_databases(env, kind)
    os.execvpe(arguments[0], arguments, env)  # noqa: S606  no shell is wanted


def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command in the checkout. Raises: DevtoolsError if it fails."""
    sys.stdout.flush()
    result = subprocess.run(arguments, cwd=ROOT, env=inherited() if env is None else env, check=False)
    if result.returncode:
        shown = " ".join(str(argument) for argument in arguments)
        raise DevtoolsError(f"this failed: {shown.replace(f'{ROOT}/', '')}")


def write(text: str) -> None:
    """Print a line without buffering, also into a pipe."""
    print(text, flush=True)


def main(arguments: list[str]) -> int:
    """Run one verb; return the exit code."""
    os.chdir(ROOT)
    verb, *rest = arguments or [""]
    verbs = {
        "up": up,
        "down": down,
        "build": lambda: build(*EVERYTHING),
        "logs": logs,
        "shell": shell,
        "clean": clean,
        "monitoring": monitoring,
    }
    with_rest = verb in {"tool", "local", "test", "with-poetry"}
    if not (verb in verbs and not rest) and not (with_rest and rest) and verb != "traffic":
        print(
            f"usage: native.py {' | '.join(verbs)} | traffic [OPTIONS] | tool COMMAND | local COMMAND | test COMMAND"
            " | with-poetry COMMAND",
            file=sys.stderr,
        )
        return 2
    try:
        if verb == "traffic":
            traffic(rest)
        elif verb == "with-poetry":
            with_poetry(rest)
        elif rest:
            command(verb, rest)
        else:
            verbs[verb]()
    except (DevtoolsError, packages.InstallError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
