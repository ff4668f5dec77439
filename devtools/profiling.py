"""Profiling with django-silk, for local settings with SILK=true: /silk/ lists each request with its SQL statements.

Note [silk's EXPLAIN]: silk replaces SQLCompiler.execute_sql at import, unless `_execute_sql` exists already, and then runs
EXPLAIN on the request's connection. After a statement that failed inside a transaction the EXPLAIN fails too, and hides
the application's error. Look at this again when silk has a setting for it.
"""

import traceback
from collections.abc import Callable
from typing import Any, Final

from django.db import connection
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from silk.collector import DataCollector
from silk.middleware import SilkyMiddleware

# silk's own statements about a request are not part of the request.
OWN_TABLES: Final = '"silk_'

# See Note [silk's EXPLAIN].
setattr(SQLCompiler, "_execute_sql", SQLCompiler.execute_sql)  # noqa: B010  a name of silk's


class ProfilingMiddleware(SilkyMiddleware):  # type: ignore[misc]  # it ships no types
    """silk's middleware, which by itself records ORM queries only, with every statement: raw SQL included."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with connection.execute_wrapper(record):
            response: HttpResponse = super().__call__(request)
        return response


def record(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001  Django's wrapper
    """Run a statement and record it in silk."""
    collector = DataCollector()
    if collector.request is None or OWN_TABLES in sql:
        return execute(sql, params, many, context)
    started = timezone.now()
    try:
        return execute(sql, params, many, context)
    finally:
        # Without parameters: they may be secrets or customer data.
        query = {
            "query": sql,
            "start_time": started,
            "end_time": timezone.now(),
            "traceback": "".join(reversed(traceback.format_stack())),
            "request": collector.request,
        }
        collector.register_query(query)
