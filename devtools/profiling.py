"""django-silk on a laptop, behind SILK=true: what a request asked of the database, under /silk/."""

import traceback
from collections.abc import Callable
from typing import Any, Final

from django.db import connection
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from silk.collector import DataCollector
from silk.middleware import SilkyMiddleware

# What silk writes about a request is no query of the request's.
OWN_TABLES: Final = '"silk_'

# silk replaces this method unless it has done so already, and then explains each query on the request's connection: after
# one that failed inside a transaction that fails too, and hides the error that the application waits for.
setattr(SQLCompiler, "_execute_sql", SQLCompiler.execute_sql)  # noqa: B010  a name of silk's


class ProfilingMiddleware(SilkyMiddleware):  # type: ignore[misc]  # it ships no types
    """silk's, which by itself sees the ORM's queries only: here it is shown every statement, the ledger's own too."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with connection.execute_wrapper(record):
            response: HttpResponse = super().__call__(request)
        return response


def record(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001  Django's wrapper
    """Run a statement, and let silk know of it."""
    collector = DataCollector()
    if collector.request is None or OWN_TABLES in sql:
        return execute(sql, params, many, context)
    started = timezone.now()
    try:
        return execute(sql, params, many, context)
    finally:
        # As it was sent: values stay out, they may be secrets or somebody's money.
        query = {
            "query": sql,
            "start_time": started,
            "end_time": timezone.now(),
            "traceback": "".join(reversed(traceback.format_stack())),
            "request": collector.request,
        }
        collector.register_query(query)
