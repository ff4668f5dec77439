"""Keyset lists: the same pages as of a queryset, in both directions and in any size."""

import random
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.pagination import SignedCursorPagination
from apps.database.keyset import ROWS, KeysetList
from tests.factories import UserFactory
from tests.notes.models import Note

pytestmark = pytest.mark.django_db

STATEMENT = """
    SELECT id, text FROM notes_note
    WHERE owner_id = %(owner)s AND id {beyond} %(position)s
    ORDER BY id {direction} LIMIT {rows}
"""


def notes_of(user) -> KeysetList:
    return KeysetList(
        statement=STATEMENT,
        parameters={"owner": user.pk},
        position_type=UUID,
        ends=(UUID(int=0), UUID(int=2**128 - 1)),
        output=lambda rows: [{"id": note_id, "text": text} for note_id, text in rows],
    )


def test_every_page_is_a_querysets(seed, user):
    chance = random.Random(seed)
    Note.objects.bulk_create(Note(owner=user, text=str(number)) for number in range(120))
    Note.objects.create(owner=UserFactory(), text="another's")
    ids = list(Note.objects.filter(owner=user).values_list("id", flat=True))

    for _ in range(100):
        column, lookup = chance.choice([("-id", "id__lt"), ("id", "id__gt")])
        beyond = {lookup: str(chance.choice(ids))} if chance.random() < 0.7 else {}
        page = slice(chance.choice([0, 0, 3]), chance.randrange(4, ROWS[-1] + 1))

        rows = notes_of(user).order_by(column)
        found = (rows.filter(**beyond) if beyond else rows)[page]

        queryset = Note.objects.filter(owner=user, **beyond).order_by(column)
        assert found == list(queryset.values("id", "text")[page]), (column, beyond, page)


def test_two_texts_a_direction_are_all_that_is_sent(user):
    with CaptureQueriesContext(connection) as captured:
        for stop in range(1, ROWS[-1] + 1):
            notes_of(user).order_by("-id")[0:stop]
            notes_of(user).order_by("id")[0:stop]

    assert len({query["sql"] for query in captured}) == 4


def test_there_are_rows_for_each_page_and_one_more():
    assert (SignedCursorPagination.page_size + 1, SignedCursorPagination.max_page_size + 1) == ROWS
