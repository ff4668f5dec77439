"""Keyset lists: pages of a list by prepared statements, straight to what the API returns.

A list view returns one as its rows. `apps.core.pagination` asks it as it asks a queryset, so the cursors are the same:

    KeysetList(
        statement="SELECT id, name FROM invoices WHERE id {beyond} %(position)s ORDER BY id {direction} LIMIT {rows}",
        parameters={}, position_type=UUID, ends=(UUID(int=0), UUID(int=2**128 - 1)), output=invoice_lines,
    )

Note [Constant limit]
PostgreSQL plans a prepared statement once for all values, and takes a limit that it does not know for a tenth of the rows: a
plan for a page of a million. So the number of rows is in the text, as one of two, and the page is cut from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Self

from django.db import DEFAULT_DB_ALIAS

from apps.database import prepared
from apps.database.prepared import Row

# The default page of `apps.core.pagination` and its largest, and one row more, which shows that there is another page.
ROWS: Final = (51, 201)


@dataclass(frozen=True, kw_only=True)
class KeysetList:
    """A list in the order of one unique column: as much of a queryset as a cursor pagination uses.

    statement: with `%(position)s`, and `{beyond}`, `{direction}` and `{rows}` in the places of operator, order and limit.
    position_type: makes the column's value of a cursor's text. ends: values below and above all of the column's.
    output: returns the page's members, as dictionaries with the column among them.
    """

    statement: str
    parameters: Mapping[str, Any]
    position_type: Callable[[str], Any]
    ends: tuple[Any, Any]
    output: Callable[[list[Row]], list[dict[str, Any]]]
    using: str = DEFAULT_DB_ALIAS
    descending: bool = True
    position: Any = None

    def order_by(self, column: str) -> Self:
        return replace(self, descending=column.startswith("-"))

    def filter(self, **beyond: str) -> Self:
        """Return the list from a position on: `<column>__lt` of a descending list, `<column>__gt` of an ascending one."""
        ((_, position),) = beyond.items()
        return replace(self, position=self.position_type(position))

    def __getitem__(self, page: slice) -> list[dict[str, Any]]:
        position = self.ends[self.descending] if self.position is None else self.position
        text = _text(self.statement, self.descending, next(rows for rows in ROWS if page.stop <= rows))
        rows = prepared.query(text, {**self.parameters, "position": position}, using=self.using)
        return self.output(rows)[page]


@cache
def _text(statement: str, descending: bool, rows: int) -> str:  # noqa: FBT001  part of a key
    """Return a list's text for a direction and a number of rows. See Note [Constant limit]."""
    beyond, direction = ("<", "DESC") if descending else (">", "ASC")
    return prepared.compact(statement.format(beyond=beyond, direction=direction, rows=rows))
