"""Database URLs as libpq parses them: the result is that of a connection, without connecting."""

import itertools
import os
import re

import psycopg
import pytest
from django.db import connections

from apps.database import libpq
from apps.database.postgresql.base import DatabaseWrapper
from config.env import ConfigurationError, read
from config.settings.base import database
from tests.support.configuration import CANARY, FULL
from tests.support.processes import run

FAR = "db.example.com"
URLS = ("DATABASE_URL", "MIGRATION_DATABASE_URL", "TEST_DATABASE_URL")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A service file and a password file; and nothing of this machine's."""
    for name in {each.envvar.decode() for each in psycopg.pq.Conninfo.get_defaults() if each.envvar}:
        monkeypatch.delenv(name, raising=False)
    services, passwords = tmp_path / "services", tmp_path / "passwords"
    services.write_text(
        f"[far]\nhost={FAR}\n[weak]\nhost={FAR}\nsslmode=disable\npassword={CANARY}\n[near]\nhost=/run\n"
    )
    passwords.write_text(f"{FAR}:*:*:*:{CANARY}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("HOME", str(tmp_path))
    return passwords


def told(settings="production", **given) -> str:
    """Return the error of a deployment's configuration, or nothing."""
    try:
        read(FULL | {"DJANGO_SETTINGS_MODULE": f"config.settings.{settings}"} | given)
    except ConfigurationError as error:
        (line,) = re.findall(r"^  (.+)", str(error), re.MULTILINE)
        assert CANARY not in line
        return line
    return ""


class TestEncryption:
    @pytest.mark.parametrize(
        ("url", "environment"),
        [
            (f"postgres://u:p@{FAR}/d", {}),
            (f"postgres://u:p@/d?host={FAR}", {}),
            (f"postgres://u:p@localhost/d?host={FAR}", {}),
            ("postgres://u:p@/d?hostaddr=192.0.2.1", {}),
            ("postgres://u:p@localhost/d?hostaddr=192.0.2.1", {}),
            ("postgres://u:p@%2Frun/d?hostaddr=192.0.2.1", {}),
            ("postgres://u:p@//run/d?hostaddr=192.0.2.1", {}),
            ("postgres://u:p@/d?service=far", {}),
            ("postgres://u:p@/d?service=weak", {}),
            (f"postgres://u:p@localhost,{FAR}/d", {}),
            (f"postgres://u:p@{FAR},%2Frun/d", {}),
            ("postgres://u:p@/d?hostaddr=127.0.0.1,192.0.2.1", {}),
            ("postgres://u:p@/d", {"PGHOST": FAR}),
            ("postgres://u:p@/d", {"PGHOSTADDR": "192.0.2.1"}),
            ("postgres://u:p@localhost/d", {"PGHOSTADDR": "192.0.2.1"}),
            ("postgres://u:p@/d", {"PGSERVICE": "far"}),
            ("postgres://u:p@/d", {"PGHOST": FAR, "PGSSLMODE": "disable"}),
            (f"postgres://u:p@{FAR}/d", {"PGSSLMODE": "disable"}),
        ],
    )
    def test_what_leaves_the_machine_asks_for_it_by_whatever_name(self, monkeypatch, url, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert told(DATABASE_URL=url) == ""
        assert libpq.route(libpq.parameters(url)).over_network

        weaker = f"{url}{'&' if '?' in url else '?'}sslmode=disable"
        assert told(DATABASE_URL=weaker).startswith("DATABASE_URL, DATABASE_SSLMODE disagree")
        assert told(MIGRATION_DATABASE_URL=weaker).startswith("MIGRATION_DATABASE_URL, DATABASE_SSLMODE disagree")

    @pytest.mark.parametrize(
        ("url", "environment"),
        [
            ("postgres://u@/d", {}),
            ("postgres://u@localhost,127.0.0.2,[::1]/d", {}),
            ("postgres://u@/d?host=/run", {}),
            ("postgres://u@%40abstract/d", {}),
            ("postgres://u@/d?service=near", {}),
            (f"postgres://u@{FAR}/d?hostaddr=127.0.0.1", {}),
            ("postgres://u@localhost/d", {"PGHOST": FAR}),
            ("postgres://u@%2Frun/d", {"PGSERVICE": "far"}),
        ],
    )
    def test_what_stays_on_the_machine_needs_none(self, monkeypatch, url, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert told(DATABASE_URL=f"{url}{'&' if '?' in url else '?'}sslmode=disable") == ""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("url", "environment", "sslmode"),
        [
            (f"postgres://u:p@/d?host={FAR}", {}, "verify-full"),
            ("postgres://u:p@/d", {"PGHOST": FAR, "PGSSLMODE": "disable"}, "verify-full"),
            ("postgres://u:p@/d?service=weak", {}, "verify-full"),
            (f"postgres://u:p@{FAR}/d", {"DATABASE_SSLMODE": "require"}, "require"),
            (f"postgres://u:p@{FAR}/d", {"DATABASE_SSLMODE": "require", "PGSSLMODE": "verify-ca"}, "verify-ca"),
            (f"postgres://u:p@{FAR}/d?sslmode=verify-full", {"DATABASE_SSLMODE": "require"}, "verify-full"),
            ("postgres://u:p@/d", {}, "None"),
        ],
    )
    def test_is_what_the_connection_of_a_deployment_says(self, url, environment, sslmode):
        services = {"PGSERVICEFILE": os.environ["PGSERVICEFILE"]}  # noqa: TID251  the fixture's
        code = "import config.settings.production as s; print(s.DATABASES['default']['OPTIONS'].get('sslmode'))"

        result = run("-c", code, **FULL | {"DATABASE_URL": url} | services | environment)

        assert (result.stdout.strip(), result.stderr) == (sslmode, "")


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        (f"postgres://u:p@{FAR}/d", {}),
        (f"postgres://{FAR}/d?user=u&password=p", {}),
        (f"postgres://u@{FAR}/d", {"PGPASSWORD": CANARY}),
        (f"postgres://u@{FAR}/d?passfile=PASSWORDS", {}),
        (f"postgres://u@{FAR}/d", {"PGPASSFILE": "PASSWORDS"}),
        ("postgres://u@/d?service=weak", {}),
        (f"postgres://u@{FAR}/d?sslcert=/run/client.pem", {}),
        (f"postgres://u@{FAR}/d", {"PGSSLCERT": "/run/client.pem"}),
    ],
)
def test_a_password_may_be_wherever_libpq_looks_for_one(elsewhere, monkeypatch, url, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("PASSWORDS", str(elsewhere)))
    assert told(DATABASE_URL=url.replace("PASSWORDS", str(elsewhere))) == ""


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://u@{FAR}/d",
        f"postgres://u@/d?host={FAR}",
        "postgres://u@/d?hostaddr=192.0.2.1",
        "postgres://u@/d?service=far",
        "postgres://u@another.example.com/d?passfile=PASSWORDS",
        f"postgres://u@{FAR}/d?passfile=/nowhere/{CANARY}",
    ],
)
def test_where_there_is_no_password_a_deployment_does_not_start(elsewhere, url):
    url = url.replace("PASSWORDS", str(elsewhere))

    assert told(DATABASE_URL=url).startswith("DATABASE_URL names no password")
    assert told(MIGRATION_DATABASE_URL=url).startswith("MIGRATION_DATABASE_URL names no password")
    assert told("local", DATABASE_URL=url) == ""


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://u:{CANARY}@h/d?pgbouncer=true",
        f"postgres://u:{CANARY}@h/d?schema=public",
        f"postgres://u:{CANARY}@h/d?ssl=true",
        f"postgres://u:{CANARY}@h/d?sslmod=verify-full",
        f"postgres://u:{CANARY}@h/d?SSLMODE=verify-full",
        f"postgres://u:{CANARY}@h/d?{CANARY}=1",
        f"postgres://u:{CANARY}@h/d?conn_max_age=60",
        f"postgres://u:{CANARY}@h/d?atomic_requests=true",
        f"postgres://u:{CANARY}@h/d?pool=true",
        f"postgres://u:{CANARY}@h/d?connect_timeout=soon",
        f"postgres://u:{CANARY}@h/d?connect_timeout=",
        f"postgres://u:{CANARY}@h/d?keepalives_idle={CANARY}",
        f"postgres://u:{CANARY}@h/d?tcp_user_timeout=10s",
        f"postgres://u:{CANARY}@h/d?sslmode=verify_full",
        f"postgres://u:{CANARY}@h/d?sslmode=",
        f"postgres://u:{CANARY}@h/d?target_session_attrs=primry",
        f"postgres://u:{CANARY}@h/d?require_auth=scram",
        f"postgres://u:{CANARY}@h/d?channel_binding=yes",
        f"postgres://u:{CANARY}@h/d?gssencmode=off",
        f"postgres://u:{CANARY}@h/d?load_balance_hosts=yes",
        f"postgres://u:{CANARY}@h/d?ssl_min_protocol_version=1.3",
        f"postgres://u:{CANARY}@h/d?sslmode=require&sslrootcert=system",
        f"postgres://u:{CANARY}@h/d?service={CANARY}",
        f"postgres://u:{CANARY}@h/d?port=0",
        f"postgres://u:{CANARY}@h:65536/d",
        f"postgres://u:{CANARY}@a,b,c:1,2/d?port=1,2",
        f"postgres://u:{CANARY}@h/d?hostaddr=192.0.2.1,192.0.2.2",
        f"postgres://u:{CANARY}@/var/run/postgresql:6432/d",
        f"postgres://u:{CANARY}@//var/run/postgresql:6432/d",
        f"postgres://u:{CANARY}@/var/run/postgresql/d",
        f"postgres://u:{CANARY}@h/d/e",
        f"postgres://u:{CANARY}/x@h/d",
        f"postgres://u:{CANARY}%zz@h/d",
        f"postgres://u:{CANARY}%ff@h/d",
        f"postgres://u:{CANARY}@h/d%00e",
        f"postgres://u:{CANARY}@h/d?application_name=a=b",
    ],
)
def test_what_libpq_refuses_is_refused_before_anything_is_served(url):
    for settings, key in itertools.product(("local", "production"), URLS):
        words = told(settings, **{key: url})
        assert words.startswith(f"{key} must be a URL postgres://user:password@host:port/database"), (settings, key)


@pytest.mark.parametrize(
    "environment",
    [{"PGSERVICE": CANARY}, {"PGPORT": CANARY}, {"PGREQUIREAUTH": CANARY}, {"PGSSLMODE": CANARY}],
)
def test_a_variable_that_would_break_every_connection_is_a_reason_not_to_start(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert told(DATABASE_URL=f"postgres://u:p@{FAR}/d").startswith("DATABASE_URL must be a URL")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgres://u:p@h:5433/d", {"HOST": "h", "PORT": "5433"}),
        ("postgresql://u:p@h/d", {"HOST": "h", "PORT": ""}),
        ("postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d", {"HOST": "/var/run/postgresql", "PORT": ""}),
        ("postgres://u:p@%2Fvar%2Frun%2Fpostgresql:6432/d", {"HOST": "/var/run/postgresql", "PORT": "6432"}),
        ("postgres://u:p@//var/run/postgresql/d", {"HOST": "/var/run/postgresql"}),
        ("postgres://u:p@/%2Fvar%2Frun%2Fpostgresql/d?port=6432", {"HOST": "/var/run/postgresql", "PORT": "6432"}),
        ("postgres://u:p@/d?host=/var/run/postgresql", {"HOST": "/var/run/postgresql"}),
        ("postgres://u:p@localhost/d?host=h&port=1", {"HOST": "h", "PORT": "1"}),
        ("postgres://a,b:5433/d?user=u&password=p", {"HOST": "a,b", "PORT": ",5433", "USER": "u", "PASSWORD": "p"}),
        ("postgres://u:p@[2001:db8::1]:5433/d", {"HOST": "2001:db8::1", "PORT": "5433"}),
        ("postgres://u%40x:p%2F%3F%23%25+%20@h/d%2Bd", {"USER": "u@x", "PASSWORD": "p/?#%+ ", "NAME": "d+d"}),
    ],
)
def test_django_is_given_the_parts_as_libpq_reads_them(url, parts):
    entry = database(url)

    assert parts.items() <= entry.items()
    assert told("local", DATABASE_URL=url) == ""


@pytest.mark.django_db(transaction=True)  # allows connections
def test_a_socket_is_reached_by_each_spelling(password_postgres):
    folder = str(password_postgres.cluster.sockets)
    encoded = folder.replace("/", "%2F")
    for url in (
        f"postgres://app@{encoded}:{password_postgres.port}/web",
        f"postgres://app@/{encoded}/web?port={password_postgres.port}",
        f"postgres://app@/{folder}/web?port={password_postgres.port}",
        f"postgres://app@/web?host={folder}&port={password_postgres.port}",
    ):
        connection = DatabaseWrapper(connections["default"].settings_dict | database(url), "default")
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_database()")
                assert cursor.fetchone() == ("web",), url
        finally:
            connection.close()
