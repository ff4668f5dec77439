"""Run the API's tests of two versions of this project, each on the schema that the other one's migrations make.

    compatibility.py BEFORE    BEFORE is a folder with the version before

A deployment migrates first, so the old code meets the new schema each time, and after a rollback it stays there. The new
code meets the old schema where somebody deploys without migrating. Django names all columns of a model, so a model that
has a new column cannot pass that second half; then the migration says so, with a reason:

    # new-code-needs-this: the deployment migrates first, and /readyz/ is 503 until then

Both versions run on today's packages and on a PostgreSQL of this script's own.
"""

# A command line tool: it prints, and gives its own environment, with some changed, to others.
# ruff: noqa: T201, TID251, S603

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import psycopg

from devtools.embedded_postgres import Cluster

ROOT: Final = Path(__file__).resolve().parent.parent

API_TESTS: Final = ("tests/ledger/test_api.py", "tests/users/test_api.py")
MIGRATIONS: Final = "apps/*/migrations/0*.py"
NEEDED: Final = re.compile(r"^\s*# new-code-needs-this: *\S", re.MULTILINE)


def main(before: Path) -> int:
    """Try both halves; 1 if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster("test", Path(folder))
        cluster.start()
        try:
            results = {"old code on the new schema": passes(cluster, schema=ROOT, code=before)}
            if needed := newly_needed(before):
                print(f"new code on the old schema: not tried, it needs {', '.join(needed)}")
            else:
                results["new code on the old schema"] = passes(cluster, schema=before, code=ROOT)
        finally:
            cluster.remove()
    for half, passed in results.items():
        print(f"{half}: {'passes' if passed else 'FAILS (docs/migrations.md)'}")
    return 0 if all(results.values()) else 1


def newly_needed(before: Path) -> list[str]:
    """Return the new migrations that say that the new code needs them."""
    new = {path.relative_to(ROOT) for path in ROOT.glob(MIGRATIONS)} - {
        p.relative_to(before) for p in before.glob(MIGRATIONS)
    }
    return sorted(str(path) for path in new if NEEDED.search((ROOT / path).read_text()))


def passes(cluster: Cluster, *, schema: Path, code: Path) -> bool:
    """Tell whether the API's tests of one version pass on what the migrations of the other make."""
    # The name that pytest-django gives to the database for app_test.
    with psycopg.connect(host=str(cluster.sockets), user="app", dbname="postgres", autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS test_app_test")
        server.execute("CREATE DATABASE test_app_test")
    common = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings.test"}
    migrated = common | {"TEST_DATABASE_URL": cluster.url.replace("/app_test", "/test_app_test")}
    subprocess.run([sys.executable, "manage.py", "migrate", "--noinput", "-v0"], cwd=schema, env=migrated, check=True)
    tested = common | {"TEST_DATABASE_URL": cluster.url, "PYTHONPATH": str(ROOT / "checks")}
    tests = [path for path in API_TESTS if (code / path).exists()]
    if not tests:
        sys.exit(f"error: {code} has none of {', '.join(API_TESTS)}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_existing_schema", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=code, env=tested, check=False).returncode == 0


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004  itself and the folder
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve()))
