"""Screenshots of Swagger UI and Prometheus for docs/img/: `make pictures`.

Runs gunicorn on the test server's example database, Prometheus, a minute of example traffic, and Debian's chromium. The
Prometheus package of Debian 13 has no web pages: use Debian 12's or upstream's.
"""

# A command line tool: it prints, and runs commands, without a shell.
# ruff: noqa: T201, S603

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from devtools import example_traffic as traffic
from devtools import prometheus as monitoring
from devtools.daemon import ROOT, DevtoolsError

FOLDER = ROOT / "docs" / "img"
WIDTH, HEIGHT = 1200, 1200
TRAFFIC_SECONDS = 60
PATIENCE_SECONDS = 30
# The graphs' queries, by file name.
GRAPHS = {
    "ledger-commands": "sum by (outcome) (rate(ledger_money_commands_total[15s]))",  # <sample/>
    "requests": "sum by (view) (rate(django_http_responses_total_by_status_view_method_total[15s]))",
}
# Prometheus' page before 3.0 draws an SVG (Debian's) or a canvas (upstream's).
DRAWN = "return document.querySelector('.rickshaw_graph path, .graph-chart canvas, .uplot canvas') !== null"


@contextlib.contextmanager
def application(folder: Path) -> Iterator[tuple[int, int]]:
    """Serve the example database during the block; yield the ports of the application and of its metrics."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, metrics = one.getsockname()[1], other.getsockname()[1]
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings.test", "METRICS_PORT": str(metrics)}  # noqa: TID251  for a child
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity=0"], cwd=ROOT, env=env, check=True
    )
    log = folder / "gunicorn.log"
    with log.open("wb") as output:
        serve = [str(ROOT / "docker" / "entrypoint"), "serve", f"--bind=127.0.0.1:{port}"]
        process = subprocess.Popen(serve, cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DevtoolsError(f"the application does not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.2)
        yield port, metrics
    finally:
        process.terminate()
        process.wait(timeout=60)


def is_ready(port: int) -> bool:
    """Return whether /ping/ returns 200."""
    with contextlib.suppress(OSError):
        return monitoring.get(port, "/ping/")[0] == 200  # noqa: PLR2004  the status "OK"
    return False


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[webdriver.Chrome]:
    """Run chromium with an empty profile and without background network requests."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        raise DevtoolsError(
            "chromium or chromedriver is not installed (on Debian: apt install chromium chromium-driver)"
        )
    options = Options()
    options.binary_location = str(programs[0])
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'browser'}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(str(programs[1])))
    try:
        driver.set_window_size(WIDTH, HEIGHT)
        yield driver
    finally:
        driver.quit()


def take(driver: webdriver.Chrome, name: str, url: str, ready: str) -> None:
    """Open a page, wait until the script `ready` returns true, and save a screenshot."""
    driver.get(url)
    try:
        WebDriverWait(driver, PATIENCE_SECONDS).until(lambda page: page.execute_script(ready))
    except TimeoutException:
        raise DevtoolsError(f"{url} is not ready after {PATIENCE_SECONDS} s") from None
    time.sleep(1)  # for fade-in animations
    path = FOLDER / f"{name}.png"
    driver.save_screenshot(str(path))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KiB")


def graph(port: int, expr: str) -> str:
    """Return the URL of Prometheus' graph page for a query; Debian's package has the classic page."""
    page = next((page for page in ("/classic/graph", "/graph") if monitoring.get(port, page)[0] < 400), None)  # noqa: PLR2004  no error
    if page is None:
        raise DevtoolsError("this Prometheus has no web pages")
    query = {"g0.expr": expr, "g0.tab": "0", "g0.stacked": "0", "g0.range_input": f"{TRAFFIC_SECONDS - 15}s"}
    return f"http://127.0.0.1:{port}{page}?{urlencode(query)}"


def main() -> int:
    """Take all screenshots; return the exit code."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as temporary:
        folder = Path(temporary)
        try:
            with (
                application(folder) as (port, metrics),
                monitoring.prometheus(folder, f"127.0.0.1:{metrics}", interval="1s") as prometheus,
                browser(folder) as driver,
            ):
                print(f"{TRAFFIC_SECONDS} s of traffic", flush=True)
                traffic.run(("127.0.0.1", port), seconds=TRAFFIC_SECONDS, customers=4, seed=1)
                for name, expr in GRAPHS.items():
                    take(driver, name, graph(prometheus, expr), DRAWN)
                swagger = f"http://127.0.0.1:{port}/schema/swagger-ui/"
                take(driver, "swagger-ui", swagger, "return document.querySelectorAll('.opblock').length > 3")
        except (DevtoolsError, WebDriverException, subprocess.CalledProcessError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
