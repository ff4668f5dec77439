"""State of the database and its sessions: `manage.py database_status`, for a platform on which nobody has psql."""

from argparse import ArgumentParser
from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from apps.database.roles import connected_as

SERVER_SQL = """
    SELECT coalesce(host(inet_server_addr()), 'a socket'),
           CASE WHEN pg_is_in_recovery() THEN 'in recovery: a standby'
                WHEN current_setting('default_transaction_read_only') = 'on' THEN 'read only by default'
                ELSE 'takes writes' END,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
           current_setting('max_connections')
"""
CONNECTIONS_SQL = """
    SELECT coalesce(usename, '-'), coalesce(nullif(application_name, ''), '-'), coalesce(state, '-'), count(*)
    FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3
"""
# A statement has customers' values in it: only its first word is printed, and the tables that the session has locked.
SESSIONS_SQL = """
    SELECT pid, usename, coalesce(state, '-'),
           extract(epoch FROM clock_timestamp() - coalesce(xact_start, query_start))::int,
           coalesce(upper(substring(query FROM '^\\s*([A-Za-z]+)')), '-'),
           coalesce(wait_event_type || ' ' || wait_event, '-'),
           pg_blocking_pids(pid),
           ARRAY(SELECT DISTINCT relname::text FROM pg_locks JOIN pg_class ON pg_class.oid = relation
                 WHERE pg_locks.pid = activity.pid AND relkind IN ('r', 'p')
                   AND relnamespace = current_schema()::regnamespace ORDER BY 1)
    FROM pg_stat_activity AS activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
      AND (state IS DISTINCT FROM 'idle' OR EXISTS (
          SELECT 1 FROM pg_locks WHERE pg_locks.pid = activity.pid AND locktype = 'advisory'))
    ORDER BY coalesce(xact_start, query_start)
"""
TABLES_SQL = """
    SELECT relname, n_live_tup, n_dead_tup, coalesce(to_char(last_autoanalyze, 'YYYY-MM-DD HH24:MI'), 'never')
    FROM pg_stat_user_tables WHERE schemaname = current_schema() ORDER BY n_live_tup DESC, relname LIMIT 20
"""


class Command(BaseCommand):
    """Print the server's state, its connections, and each session at work; end one.

    As the owner of the tables, where MIGRATION_DATABASE_URL is set: as a member of the serving role it sees that role's
    sessions and may end them. As the serving role it sees its own.
    """

    help = "Print the database server's state, its connections and the sessions at work."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tables", action="store_true", help="print the rows of the largest tables, too")
        parser.add_argument("--end", type=int, metavar="PID", help="end this session: its transaction is undone")

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections["default"]
        owner = settings.MIGRATION_DATABASE
        with connected_as(connection, owner) if owner else nullcontext(), connection.cursor() as cursor:
            if options["end"] is not None:
                cursor.execute("SELECT pg_terminate_backend(%s)", [options["end"]])
                if cursor.fetchone() != (True,):
                    raise CommandError(f"there is no session {options['end']}")
                self.stdout.write(f"Ended the session {options['end']}.")
                return
            cursor.execute(SERVER_SQL)
            address, state, used, most = cursor.fetchone()
            self.stdout.write(f"{address}: {state}; {used} of {most} connections")
            cursor.execute(CONNECTIONS_SQL)
            for role, application, activity, count in cursor.fetchall():
                self.stdout.write(f"  {count:4} {role} {application}: {activity}")
            cursor.execute(SESSIONS_SQL)
            for pid, role, activity, seconds, verb, waits, blockers, tables in cursor.fetchall():
                self.stdout.write(
                    f"session {pid} of {role}: {activity} for {seconds} s, {verb} ({', '.join(tables) or 'no table'}),"
                    f" waits for {waits}, blocked by {', '.join(map(str, blockers)) or 'none'}"
                )
            if options["tables"]:
                cursor.execute(TABLES_SQL)
                for table, live, dead, analysed in cursor.fetchall():
                    self.stdout.write(f"table {table}: {live} rows, {dead} dead, analysed {analysed}")
