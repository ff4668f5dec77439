"""Compatibility of code and schema: run the API tests of two versions, each on the schema of the other version.

    python -m checks.compatibility BEFORE    BEFORE is a folder with the previous version

A deployment migrates first, so in each deployment the old code runs on the new schema, and after a rollback it stays on
it. The new code runs on the old schema when a deployment skips the migration. Django's queries name all columns of a
model, so a model with a new column fails on the old schema; then its migration declares that, with a reason:

    # new-code-needs-this: the deployment migrates first, and /readyz/ is 503 until then

Both versions run with the current packages, on a temporary PostgreSQL.
"""

# A command line tool: it prints, and passes its environment, with changes, to child processes.
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

API_TESTS: Final = "tests/*/test_api.py"
MIGRATIONS: Final = "apps/*/migrations/0*.py"
NEEDED: Final = re.compile(r"^\s*# new-code-needs-this: *\S", re.MULTILINE)


def main(before: Path) -> int:
    """Test both combinations; return 1 if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster("test", Path(folder))
        cluster.start()
        try:
            results = {"old code on the new schema": passes(cluster, schema=ROOT, code=before)}
            if needed := declared_as_needed(before):
                print(f"new code on the old schema: not tried, it needs {', '.join(needed)}")
            else:
                results["new code on the old schema"] = passes(cluster, schema=before, code=ROOT)
        finally:
            cluster.remove()
    for combination, passed in results.items():
        print(f"{combination}: {'passes' if passed else 'FAILS (docs/migrations.md)'}")
    return 0 if all(results.values()) else 1


def declared_as_needed(before: Path) -> list[str]:
    """Return the new migrations that declare `new-code-needs-this`."""
    new = {path.relative_to(ROOT) for path in ROOT.glob(MIGRATIONS)} - {
        p.relative_to(before) for p in before.glob(MIGRATIONS)
    }
    return sorted(str(path) for path in new if NEEDED.search((ROOT / path).read_text()))


def passes(cluster: Cluster, *, schema: Path, code: Path) -> bool:
    """Return whether the API tests of the version in `code` pass on the schema of the version in `schema`."""
    # pytest-django's name of the test database for app_test.
    with psycopg.connect(host=str(cluster.sockets), user="app", dbname="postgres", autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS test_app_test")
        server.execute("CREATE DATABASE test_app_test")
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings.test"}
    migrate_env = env | {"TEST_DATABASE_URL": cluster.url.replace("/app_test", "/test_app_test")}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput", "-v0"], cwd=schema, env=migrate_env, check=True
    )
    test_env = env | {"TEST_DATABASE_URL": cluster.url, "PYTHONPATH": str(ROOT / "checks")}
    tests = [str(path.relative_to(code)) for path in sorted(code.glob(API_TESTS))]
    if not tests:
        sys.exit(f"error: {code} has no {API_TESTS}")
    options = ["-q", "--reuse-db", "-p", "pytest_existing_schema", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    return subprocess.run(command, cwd=code, env=test_env, check=False).returncode == 0


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004  itself and the folder
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve()))
