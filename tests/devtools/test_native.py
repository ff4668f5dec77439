"""The native runtime without its databases: `.env`, and start and stop of the application."""

import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from devtools import daemon as background
from tests.support.dotenv import NOT_TEXT
from tests.support.monitoring_programs import program

SOURCE = Path(__file__).resolve().parents[2] / "devtools" / "native.py"
# A stand-in for gunicorn: answers /ping/ with the status it finds in the file `status`.
ENTRYPOINT = """#!/bin/sh
exec python3 -c '
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(open("status").read()))
        self.end_headers()
if os.path.exists("broken"):
    sys.exit("SyntaxError: it is broken")
os.fork()
http.server.HTTPServer.allow_reuse_port = True
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1].rpartition(":")[2])), Handler).serve_forever()
' "$3"
"""

ENVIRONMENT = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}"}


@pytest.fixture
def native() -> ModuleType:
    spec = importlib.util.spec_from_file_location("native", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestDotenv:
    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("KEY=plain", "plain"),
            ("export KEY=plain", "plain"),
            ("  KEY = spaced  ", "spaced"),
            ("KEY=", ""),
            ("KEY=a=b#c", "a=b#c"),
            ("KEY=value # a remark", "value"),
            ("KEY=# a remark", ""),
            ("KEY='single $HOME `id` \\n # \"' # a remark", 'single $HOME `id` \\n # "'),
            ('KEY="double \\"quoted\\" # \\$5\\n"', 'double "quoted" # $5\n'),
            ("KEY=`id`;$(id)".replace("$", ""), "`id`;(id)"),
            (
                "KEY=postgres://app:p%40ss@localhost:5432/app?sslmode=require",
                "postgres://app:p%40ss@localhost:5432/app?sslmode=require",
            ),
        ],
    )
    def test_a_value_is_what_compose_makes_of_it(self, native, tmp_path, line, value):
        (tmp_path / ".env").write_text(f"# a remark\n\n{line}\n")

        assert native.read_dotenv(tmp_path / ".env") == {"KEY": value}

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("no assignment", "line 2: this is not KEY=value"),
            ("2KEY=x", "line 2: this is not KEY=value"),
            ("KEY=a$HOME", r"line 2: put single quotes round a value that has a \$"),
            ('KEY="a$HOME"', r"line 2: put single quotes round a value that has a \$"),
            ("KEY='open", "line 2: the quotation mark is not closed"),
            ("KEY='a' b", "line 2: the quotation mark is not closed, or something follows it"),
        ],
    )
    def test_what_would_be_a_surprise_is_refused(self, native, tmp_path, line, complaint):
        (tmp_path / ".env").write_text(f"# a remark\n{line}\n")

        with pytest.raises(native.DevtoolsError, match=complaint):
            native.read_dotenv(tmp_path / ".env")

    def test_no_file_is_no_settings(self, native, tmp_path):
        assert native.read_dotenv(tmp_path / ".env") == {}

    @pytest.mark.parametrize("kind", NOT_TEXT)
    def test_a_file_that_is_no_text_is_an_error_of_one_line_that_names_it(self, native, tmp_path, kind):
        make, complaint = NOT_TEXT[kind]
        make(tmp_path / ".env")

        with pytest.raises(native.DevtoolsError, match=complaint) as error:
            native.read_dotenv(tmp_path / ".env")
        assert "\n" not in str(error.value)

    def test_lines_end_where_compose_ends_them(self, native, tmp_path):
        (tmp_path / ".env").write_bytes("\ufeffONE=a\u2028b\x0bc\r\nTWO=2\r\n".encode())

        assert native.read_dotenv(tmp_path / ".env") == {"ONE": "a\u2028b\x0bc", "TWO": "2"}

    def test_the_environment_wins(self, native, tmp_path, monkeypatch):
        (tmp_path / ".env").write_text("PORT=8001\nSIGN_UP_OPEN=false\n")
        monkeypatch.setattr(native, "ROOT", tmp_path)
        monkeypatch.setenv("PORT", "8002")
        monkeypatch.delenv("SIGN_UP_OPEN", raising=False)

        env = native.environment()

        assert (env["PORT"], env["SIGN_UP_OPEN"]) == ("8002", "false")
        assert env["PATH"].startswith(str(native.VENV / "bin"))


class TestInherited:
    """Variables of the developer's shell do not reach the programs that are started."""

    FOREIGN = (
        *(
            "PGHOST",
            "PGPORT",
            "PGSERVICE",
            "PGREQUIREAUTH",
            "PGDATESTYLE",
            "PGOPTIONS",
            "PGTZ",
            "PGSSLMODE",
            "PGPASSWORD",
        ),
        *(
            "PYTHONHOME",
            "PYTHONPATH",
            "PYTHONSAFEPATH",
            "PYTHONOPTIMIZE",
            "PYTHONWARNINGS",
            "PYTHONSTARTUP",
            "PYTHON_GIL",
        ),
        *(
            "PIP_USER",
            "PIP_TARGET",
            "PIP_PREFIX",
            "PIP_ROOT",
            "PIP_REQUIRE_VIRTUALENV",
            "PIP_CONSTRAINT",
            "PIP_DRY_RUN",
            "UV_TARGET",
        ),
        *("GUNICORN_CMD_ARGS", "MYPYPATH", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
    )
    OURS = ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "HTTPS_PROXY", "PORT", "GUNICORN_THREADS", "PYTEST_ADDOPTS")

    @pytest.fixture(autouse=True)
    def shell(self, native, monkeypatch, tmp_path):
        for name in (*self.FOREIGN, *self.OURS):
            monkeypatch.setenv(name, "here")
        monkeypatch.setattr(native, "ROOT", tmp_path)

    def test_is_ours_and_how_pip_gets_to_its_index(self, native):
        for env in (native.inherited(), native.environment()):
            assert not set(self.FOREIGN) & env.keys()
            assert set(self.OURS) <= env.keys()

    def test_a_dotenv_may_say_what_it_likes(self, native):
        (native.ROOT / ".env").write_text("PGSSLROOTCERT=/run/ca.pem\n")

        assert native.environment()["PGSSLROOTCERT"] == "/run/ca.pem"

    @pytest.mark.parametrize(("module", "kept"), [("config.settings.production", True), ("mysite.settings", False)])
    def test_settings_of_another_project_are_not_ours(self, native, monkeypatch, module, kept):
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", module)

        assert ("DJANGO_SETTINGS_MODULE" in native.environment()) is kept

    def test_what_is_run_without_an_environment_has_no_other(self, native, capfd):
        native.run(sys.executable, "-c", "import os; print(*os.environ)")

        assert not set(self.FOREIGN) & set(capfd.readouterr().out.split())

    def test_a_virtual_environment_is_whole_whatever_the_shell_says_of_python(self, native, tmp_path, monkeypatch):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").symlink_to(sys.executable)
        (tmp_path / "made-from").write_text("list stamp\n")
        monkeypatch.setenv("PYTHONHOME", "/nowhere")

        assert native.stamps(tmp_path) == {"list": "stamp"}


class TestPort:
    @pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "80 80"])
    def test_a_wrong_one_is_named(self, native, value):
        with pytest.raises(native.DevtoolsError, match=f"PORT is '{value}'"):
            native.port_of({"PORT": value})

    @pytest.mark.parametrize("env", [{}, {"PORT": ""}])
    def test_is_8000_unless_set(self, native, env):
        assert native.port_of(env) == 8000

    @pytest.mark.parametrize("name", ["PORT", "METRICS_PORT"])
    def test_a_taken_one_is_named_with_its_variable(self, native, name):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

            with pytest.raises(
                native.DevtoolsError, match=f"port {port} is taken .*set {name}: make up {name}={port + 1}"
            ):
                native.refuse_taken(port, name)


# It outlives the Popen object that started it: that is the point.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestApplication:
    @pytest.fixture
    def app(self, native, tmp_path, monkeypatch) -> Iterator[ModuleType]:
        (tmp_path / "docker").mkdir()
        entrypoint = tmp_path / "docker" / "entrypoint"
        entrypoint.write_text(ENTRYPOINT)
        entrypoint.chmod(0o755)
        (tmp_path / "status").write_text("200")
        monkeypatch.setattr(native, "ROOT", tmp_path)
        monkeypatch.setattr(background, "ROOT", tmp_path)
        monkeypatch.setattr(native, "APP", background.Daemon("app", tmp_path))
        yield native
        native.APP.stop(within_s=5)

    @pytest.fixture
    def port(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            number: int = free.getsockname()[1]
        return number

    def test_starts_answers_and_stops(self, app, port):
        assert app.APP.running() is None

        app.start_app(ENVIRONMENT, port, "settings")
        app.wait_until_it_answers(port)

        ports = {"port": port, "metrics_port": 9464}
        assert app.APP.running() == {"pid": app.APP.running()["pid"], "settings": "settings"} | ports
        assert app.APP.stop(within_s=5) is True
        assert app.APP.running() is None
        assert app.APP.stop(within_s=5) is False

    def test_a_worker_that_outlived_its_master_is_stopped_too(self, app, port):
        app.start_app(ENVIRONMENT, port, "settings")
        app.wait_until_it_answers(port)

        os.kill(app.APP.running()["pid"], signal.SIGKILL)

        assert app.APP.running() is not None
        assert app.APP.stop(within_s=5) is True

    def test_the_number_of_a_dead_application_is_not_believed(self, app):
        (app.ROOT / "app.lock").touch()
        (app.ROOT / "app.json").write_text(f'{{"pid": {os.getpid()}, "port": 1, "settings": ""}}')

        assert app.APP.running() is None
        assert app.APP.stop(within_s=5) is False

    def test_one_that_cannot_start_fails_at_once_and_shows_why(self, app, port, capfd):
        (app.ROOT / "broken").touch()
        app.start_app(ENVIRONMENT, port, "settings")

        with pytest.raises(app.DevtoolsError, match="ended while it was starting"):
            app.wait_until_it_answers(port)

        app.APP.show_log_tail()
        assert "SyntaxError: it is broken" in capfd.readouterr().err

    def test_one_that_answers_with_an_error_has_failed(self, app, port):
        (app.ROOT / "status").write_text("500")
        app.start_app(ENVIRONMENT, port, "settings")

        with pytest.raises(app.DevtoolsError, match=f"/ping/ on port {port} answers with status 500"):
            app.wait_until_it_answers(port)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestMonitoring:
    def test_says_what_is_missing_before_anything_is_started(self, native, monkeypatch):
        monkeypatch.setattr(native, "environment", lambda: {"PATH": "/nowhere"})
        monkeypatch.setattr(native, "up", lambda: pytest.fail("the application was started"))

        with pytest.raises(native.DevtoolsError, match=r"there is no prometheus in the PATH.*apt install prometheus"):
            native.monitoring()

    def test_starts_once_changes_with_its_settings_and_ends_with_down(self, native, tmp_path, monkeypatch, capfd):
        folder = Path(program("prometheus")).parent
        with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as another:
            port, moved = (str(listener.getsockname()[1]) for listener in (free, another))
        env = {"PATH": f"{folder}:{os.defpath}", "PROMETHEUS_PORT": port}
        monkeypatch.setattr(native, "environment", lambda: env)
        monkeypatch.setattr(native, "up", lambda: None)
        monkeypatch.setattr(native, "NATIVE", tmp_path)
        monkeypatch.setattr(native, "PROMETHEUS", background.Daemon("prometheus", tmp_path))
        monkeypatch.setattr(native, "APP", background.Daemon("app", tmp_path))
        monkeypatch.setattr(native, "URL_SETTINGS", {})
        try:
            native.monitoring()
            first = native.PROMETHEUS.running()
            native.monitoring()
            assert native.PROMETHEUS.running() == first
            assert f"http://localhost:{port}/" in capfd.readouterr().out
            assert '"127.0.0.1:9464"' in (tmp_path / "prometheus" / "prometheus.yml").read_text()

            env["PROMETHEUS_PORT"] = moved
            native.monitoring()
            assert native.PROMETHEUS.running()["port"] == int(moved)
        finally:
            native.down()
        assert native.PROMETHEUS.running() is None
        assert "Prometheus: stopped" in capfd.readouterr().out

    def test_traffic_needs_the_application(self, native, tmp_path, monkeypatch):
        monkeypatch.setattr(native, "APP", background.Daemon("app", tmp_path))

        with pytest.raises(native.DevtoolsError, match="`make up` starts it"):
            native.traffic([])


def test_a_wrong_call_is_told_the_verbs(native, capsys, monkeypatch):
    monkeypatch.chdir(SOURCE.parent)

    assert native.main(["up", "now"]) == 2
    assert native.main([]) == 2
    assert "usage: native.py up | down | build" in capsys.readouterr().err


def test_an_environment_that_is_not_whole_has_no_list(native, tmp_path):
    (tmp_path / "bin").mkdir()
    assert native.stamps(tmp_path) == {}

    (tmp_path / "bin" / "python").symlink_to(os.path.realpath("/bin/true"))
    assert native.stamps(tmp_path) == {}

    (tmp_path / "made-from").write_text("a stamp of another form")
    assert native.stamps(tmp_path) == {}

    (tmp_path / "made-from").write_text("main one\nlocal two\n")
    assert native.stamps(tmp_path) == {"main": "one", "local": "two"}

    (tmp_path / "bin" / "python").unlink()
    assert native.stamps(tmp_path) == {}


class TestBuild:
    @pytest.fixture
    def build(self, native, tmp_path, monkeypatch):
        """Return what a build installs and stops; the environments are made, and nothing is installed into them."""
        for name in native.EVERYTHING:
            (tmp_path / f"{name}.txt").write_text(name)
        monkeypatch.setattr(native.packages, "LISTS", tmp_path)
        monkeypatch.setattr(native, "VENV", tmp_path / "venv")
        monkeypatch.setattr(native, "NATIVE", tmp_path / "native")
        done: list[object] = []
        monkeypatch.setattr(native, "down", lambda: done.append("down"))
        monkeypatch.setattr(native.packages, "install", lambda _, *lists: done.append(lists))

        def build(*lists):
            done.clear()
            native.build(*lists)
            return list(done)

        return build

    def test_what_serves_comes_first_and_the_tools_are_added(self, native, build):
        assert build(*native.SERVING) == [("main", "local")]
        marker = native.VENV / "marker"
        marker.touch()

        assert build(*native.SERVING) == []
        assert build(*native.EVERYTHING) == [("dev",)]
        assert build(*native.EVERYTHING) == build(*native.SERVING) == []
        assert marker.exists()

    def test_an_environment_of_another_list_is_made_anew(self, native, build, tmp_path):
        build(*native.EVERYTHING)
        (native.VENV / "marker").touch()
        (tmp_path / "dev.txt").write_text("another")

        assert build(*native.SERVING) == ["down", ("main", "local")]
        assert not (native.VENV / "marker").exists()

    def test_an_installation_that_broke_off_is_made_again(self, native, build, monkeypatch):
        def broken(*_):
            raise native.packages.InstallError("no network")

        build(*native.SERVING)
        with monkeypatch.context() as patch:
            patch.setattr(native.packages, "install", broken)
            with pytest.raises(native.packages.InstallError):
                build(*native.EVERYTHING)

        assert build(*native.EVERYTHING) == [("dev",)]


class TestPoetry:
    @pytest.fixture
    def mirror(self, native, tmp_path, monkeypatch):
        """Return the index that Poetry gets, with pip's configuration in a file of the test."""
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        for name in ("PIP_INDEX_URL", "POETRY_PYPI_MIRROR_URL"):
            monkeypatch.delenv(name, raising=False)

        def configured(text: str = "") -> str:
            (tmp_path / "pip.conf").write_text(text)
            mirror: str = native.poetry_environment()["POETRY_PYPI_MIRROR_URL"]
            return mirror

        return configured

    def test_the_index_of_pip_is_poetrys(self, mirror, monkeypatch):
        text = "[global]\nindex-url = https://one.example/simple\n"
        assert mirror(text) == "https://one.example/simple"

        monkeypatch.setenv("POETRY_PYPI_MIRROR_URL", "https://four.example/simple")
        assert mirror(text) == "https://four.example/simple"

    def test_the_default_index_needs_nothing(self, mirror, monkeypatch):
        monkeypatch.setenv("POETRY_PYPI_MIRROR_URL", "")

        assert mirror("[global]\nindex-url = https://one.example/simple\n") == ""
