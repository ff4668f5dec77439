"""Prepared statements: prepared once, planned for the table as it is, and the health check where they come first."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import NotSupportedError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.database import prepared
from apps.database.postgresql import base

pytestmark = pytest.mark.django_db(transaction=True)

ECHO = "SELECT %s::int + 1"
BACKEND = "SELECT pg_backend_pid() + %s * 0"
SLEEP = "SELECT pg_sleep(%s)"
STATEMENTS = """
    SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements WHERE statement NOT LIKE '%%pg_prepared%%'
"""


@contextmanager
def a_connection(threshold: int | None = 0) -> Iterator[None]:
    """Let the block begin with a new connection."""
    options = connection.settings_dict["OPTIONS"]
    usual = options["prepare_threshold"]
    connection.close()
    options["prepare_threshold"] = threshold
    connection.ensure_connection()
    try:
        yield
    finally:
        options["prepare_threshold"] = usual
        connection.close()


@pytest.fixture
def _prepares():
    with a_connection():
        yield


@pytest.fixture(params=[0, None], ids=["prepared", "unprepared"])
def _both_ways(request):
    with a_connection(request.param):
        yield


@pytest.fixture
def table() -> Iterator[str]:
    run("CREATE TABLE things (id int PRIMARY KEY, name varchar(10) NOT NULL)", "INSERT INTO things VALUES (1, 'one')")
    yield "things"
    run("DROP TABLE things")


def run(*statements: str) -> list[tuple]:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def prepared_statements() -> list[tuple[str, int]]:
    return run(STATEMENTS)


def begin_request() -> None:
    """Do what Django does before a request, and the tests' client does not."""
    connection.close_if_unusable_or_obsolete()
    connection.health_check_done, connection.health_check_enabled = False, True


# --- Preparing -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_prepares")
class TestPreparing:
    def test_a_connection_parses_a_text_once_whatever_its_values_are(self):
        assert [prepared.query(ECHO, (value,)) for value in (1, 2, 3)] == [[(2,)], [(3,)], [(4,)]]
        assert prepared.execute(ECHO, (4,)) == [(5,)]

        assert prepared_statements() == [("SELECT $1::int + 1", 4)]

    def test_each_connection_prepares_for_itself(self):
        prepared.query(ECHO, (1,))
        connection.close()

        assert prepared.query(ECHO, (2,)) == [(3,)]
        assert prepared_statements() == [("SELECT $1::int + 1", 1)]

    def test_other_statements_are_not_prepared(self):
        run("SELECT 1")

        assert prepared_statements() == []

    def test_it_is_logged_and_counted_as_any_statement(self):
        prepared.query(ECHO, (1,))
        with CaptureQueriesContext(connection) as captured:
            prepared.query(ECHO, (1,))

        assert [query["sql"] for query in captured] == [ECHO]


@pytest.mark.usefixtures("_both_ways")
class TestBothWays:
    def test_the_rows_are_the_same(self):
        assert prepared.query(ECHO, (1,)) == [(2,)]
        assert prepared.execute("SELECT %(a)s::text, %(b)s::uuid IS NULL", {"a": "x", "b": None}) == [("x", True)]

    def test_an_error_is_djangos(self):
        run("SET statement_timeout = 50")
        for send in (prepared.query, prepared.execute):
            with pytest.raises(OperationalError, match="statement timeout"), connection.connection.response_timeout(60):
                send(SLEEP, (30,))

        assert not connection.connection.closed

    def test_a_changed_type_is_no_error(self, table):
        text = f"SELECT name FROM {table} WHERE id = %s"
        assert prepared.query(text, (1,)) == [("one",)]

        run(f"ALTER TABLE {table} ALTER COLUMN name TYPE text")
        assert prepared.query(text, (1,)) == [("one",)]


def test_without_preparing_nothing_is_prepared():
    with a_connection(None):
        for _ in range(3):
            prepared.query(ECHO, (1,))

        assert prepared_statements() == []


# --- Plans -----------------------------------------------------------------------------------------------------------


@contextmanager
def another_connection() -> Iterator[None]:
    """Let a block's statements be another session's: psycopg forgets its statements where it alters a table itself."""
    other = connection.copy()
    own, other.settings_dict = connection.connection, connection.settings_dict
    other.ensure_connection()
    connection.connection = other.connection
    try:
        yield
    finally:
        connection.connection = own
        other.close()


@pytest.mark.usefixtures("_prepares")
class TestPlans:
    def test_a_type_that_a_migration_changes_is_planned_anew_once(self, table):
        text = f"SELECT name FROM {table} WHERE id = %s"
        with pytest.raises(NotSupportedError):
            prepared.execute("SELECT count(*) FROM pg_class FOR UPDATE", ())
        for length in (20, 30, 40):
            prepared.query(text, (1,))
            with another_connection():
                run(f"ALTER TABLE {table} ALTER COLUMN name TYPE varchar({length})")

            assert prepared.query(text, (1,)) == [("one",)]
            assert [count for _, count in prepared_statements()] == [1]

    def test_where_it_is_the_requests_first_statement_as_well(self, table):
        text = f"SELECT name FROM {table} WHERE id = %s"
        prepared.query(text, (1,))
        with another_connection():
            run(f"ALTER TABLE {table} ALTER COLUMN name TYPE varchar(20)")
        begin_request()

        assert prepared.query(text, (1,)) == prepared.execute(text, (1,)) == [("one",)]

    def test_in_a_transaction_that_is_an_error_as_any_other(self, table):
        text = f"SELECT name FROM {table} WHERE id = %s"
        prepared.query(text, (1,))

        with another_connection():
            run(f"ALTER TABLE {table} ALTER COLUMN name TYPE varchar(20)")

        with pytest.raises(NotSupportedError, match="cached plan"), transaction.atomic():
            prepared.query(text, (1,))
        assert prepared.query(text, (1,)) == [("one",)]

    def test_what_the_server_does_not_support_is_sent_twice_and_raised(self):
        with pytest.raises(NotSupportedError), CaptureQueriesContext(connection) as captured:
            prepared.execute("SELECT count(*) FROM pg_class FOR UPDATE", ())

        assert [query["sql"][:10] for query in captured] == ["SELECT cou", "SELECT cou"]

    def test_a_plan_that_was_made_on_an_empty_table_is_not_kept(self, table):
        """An analyzed empty table is read whole, whichever row is looked for."""
        text = f"SELECT name FROM {table} WHERE id = %s"
        run(f"DELETE FROM {table}", f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        with another_connection():
            run(f"VACUUM ANALYZE {table}")
        for number in range(10):
            prepared.query(text, (number,))
        with another_connection():
            run(f"INSERT INTO {table} SELECT number, 'x' FROM generate_series(1, 50000) AS number")

        assert self.reads_whole_table(table, text)
        connection.connection.planned_at -= base.PLANS_MAX_AGE_S
        # The first uses may still weigh the old plan's cost against the new one's.
        for number in range(20):
            prepared.query(text, (number,))
        assert not self.reads_whole_table(table, text)
        assert len(prepared_statements()) == 1

    @staticmethod
    def reads_whole_table(table: str, text: str) -> bool:
        def scans() -> int:
            run("SELECT pg_stat_force_next_flush()")
            ((count,),) = run(f"SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '{table}'")
            return count

        before = scans()
        prepared.query(text, (7,))
        return scans() > before


# --- Health check ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_both_ways")
class TestHealthCheck:
    @pytest.fixture(autouse=True)
    def _no_other_check(self, monkeypatch):
        monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda _: pytest.fail("SELECT 1 was sent"))

    def backend(self) -> int:
        ((pid,),) = prepared.query(BACKEND, (0,))
        return pid

    def test_is_the_first_query_itself(self):
        begin_request()
        first = self.backend()
        begin_request()

        assert self.backend() == first
        assert connection.health_check_done

    def test_a_connection_that_was_closed_is_replaced_and_the_query_sent_again(self):
        first = self.backend()
        with another_connection():
            run(f"SELECT pg_terminate_backend({first}, 5000)")
        begin_request()

        assert self.backend() != first

    def test_where_there_is_no_server_any_more_it_is_an_outage(self, monkeypatch):
        begin_request()
        connection.connection.close()
        monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")

        with pytest.raises(OperationalError, match="No such file"):
            self.backend()

    def test_a_silent_server_ends_the_request_after_the_time_of_a_check(self, monkeypatch):
        monkeypatch.setattr(base, "HEALTH_CHECK_TIMEOUT_S", 0.2)
        begin_request()

        with pytest.raises(OperationalError, match=r"did not answer within 0\.2 s"):
            prepared.query(SLEEP, (4,))

        assert connection.connection is None

    def test_only_the_first_has_so_little_time(self, monkeypatch):
        monkeypatch.setattr(base, "HEALTH_CHECK_TIMEOUT_S", 0.2)
        begin_request()
        monkeypatch.setattr(base, "HEALTH_CHECK_TIMEOUT_S", 60)
        self.backend()
        monkeypatch.setattr(base, "HEALTH_CHECK_TIMEOUT_S", 0.2)

        prepared.query(SLEEP, (0.5,))

    def test_an_error_of_the_statement_leaves_the_connection_alone(self):
        run("SET statement_timeout = 50")
        first = connection.connection
        begin_request()

        with pytest.raises(OperationalError, match="statement timeout"):
            prepared.query(SLEEP, (1,))

        assert connection.connection is first

    def test_a_statement_that_may_write_is_no_check(self, monkeypatch):
        checks = []
        monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda _: checks.append(1) or True)
        begin_request()

        prepared.execute(ECHO, (1,))

        assert checks == [1]

    def test_a_connection_that_has_only_read_for_long_is_replaced(self, monkeypatch):
        first = self.backend()
        begin_request()
        monkeypatch.setattr(base.DatabaseWrapper, "_has_only_read_for_long", staticmethod(lambda _: True))

        assert self.backend() != first


def test_comments_and_indentation_are_for_people():
    assert prepared.compact("\n  SELECT 1,\n  -- two\n    '--'\n") == "\nSELECT 1,\n'--'"
