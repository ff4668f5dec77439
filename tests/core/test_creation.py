"""Creation once per Idempotency-Key, owned rows, and pages, on the tests' own notes."""

import uuid
from functools import partial

import pytest
from django.db import IntegrityError, OperationalError, connection
from psycopg import errors
from rest_framework.test import APIClient

from apps.core import contention
from apps.core.creation import replay
from apps.core.idempotency import IdempotencyKeyReused
from tests.factories import UserFactory, client_of
from tests.notes.models import Note
from tests.notes.urls import NOTES
from tests.support.problems import assert_problem
from tests.support.races import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.notes.urls")]


def create(client: APIClient, text: str = "hello", path: str = NOTES, **headers: str):
    return client.post(path, {"text": text}, headers=headers)


class TestUnderAKey:
    def test_the_same_key_and_body_are_the_same_row(self, client):
        first, second = (create(client, Idempotency_Key="k") for _ in range(2))

        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert first.headers["Location"] == second.headers["Location"] == f"{NOTES}{first.json()['id']}/"
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers["Idempotent-Replayed"] == "true"
        assert Note.objects.count() == 1

    def test_a_replay_shows_the_row_as_it_is_now(self, client):
        place = create(client, Idempotency_Key="k").headers["Location"]
        changed = client.patch(place, {"text": "changed"})

        again = create(client, Idempotency_Key="k")

        assert (again.status_code, again.json()["text"]) == (201, "changed")
        assert again.headers["ETag"] == changed.headers["ETag"]

    def test_another_body_is_refused(self, client):
        create(client, Idempotency_Key="k")

        assert_problem(create(client, "other", Idempotency_Key="k"), 422, "idempotency_key_reused")
        assert Note.objects.count() == 1

    def test_a_key_is_its_owners(self, client):
        create(client, Idempotency_Key="k")

        assert create(client_of(UserFactory()), "other", Idempotency_Key="k").status_code == 201

    def test_none_is_another_row_each_time(self, client):
        for _ in range(2):
            assert create(client).status_code == 201
        assert Note.objects.count() == 2

    @pytest.mark.parametrize("key", ["", "a,b", "a b", "\u00e9", "x" * 256])
    def test_what_is_no_key_is_refused(self, client, key):
        assert_problem(create(client, Idempotency_Key=key), 400, "idempotency_key_invalid")
        assert not Note.objects.exists()

    def test_where_it_is_required_none_is_refused(self, client):
        assert_problem(create(client, path="/api/v1/keyed-notes/"), 400, "idempotency_key_missing")

    def test_it_can_be_looked_up_before_anything_else(self, client, user):
        command = {"text": "hello"}
        assert replay(Note, owner_id=user.pk, key=None, command=command) is None
        assert replay(Note, owner_id=user.pk, key="k", command=command) is None

        made = create(client, Idempotency_Key="k").json()

        found = replay(Note, owner_id=user.pk, key="k", command=command)
        assert (str(found.row.pk), found.replayed) == (made["id"], True)
        with pytest.raises(IdempotencyKeyReused):
            replay(Note, owner_id=user.pk, key="k", command={"text": "other"})

    @pytest.mark.parametrize(
        "row",
        [{"idempotency_key": "k"}, {"creation_fingerprint": "f"}],
    )
    def test_the_database_knows_that_both_columns_come_together(self, user, row):
        with pytest.raises(IntegrityError, match="note_key_comes_with_a_fingerprint"):
            Note.objects.create(owner=user, text="x", **row)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_many_at_once_make_one_row(self, user):
        answers = at_once([partial(create, client_of(user), Idempotency_Key="k") for _ in range(8)])

        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
        assert Note.objects.count() == 1

    def test_a_key_that_is_at_work_elsewhere(self, user):
        """The row under the key is not committed yet, so the insert waits until its lock timeout."""
        other = connection.copy()
        other.inc_thread_sharing()
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s || ' ' || %s, 0))", [str(user.pk), "k"]
            )
            cursor.execute(
                "INSERT INTO notes_note (id, owner_id, text, idempotency_key, creation_fingerprint)"
                " VALUES (%s, %s, 'x', 'k', 'f')",
                [uuid.uuid4(), user.pk],
            )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '100ms'")
            answer = create(client_of(user), Idempotency_Key="k")
        finally:
            other.rollback()
            other.close()
            connection.close()

        assert_problem(answer, 409, "idempotency_key_in_progress")
        assert answer.headers["Retry-After"]


class TestRetries:
    """`retry_on_contention`, by the errors that PostgreSQL reports a conflict with."""

    @pytest.fixture
    def run(self, monkeypatch):
        """Run a command that meets these conflicts, one a try; return its result and the number of tries."""
        monkeypatch.setattr(contention, "FIRST_BACKOFF_S", 0)

        def run(*conflicts: Exception) -> tuple[str, int]:
            left, tries = list(conflicts), []

            @contention.retry_on_contention
            def command() -> str:
                tries.append(1)
                if left:
                    raise OperationalError from left.pop(0)
                return "done"

            try:
                return command(), len(tries)
            except (contention.Contention, OperationalError) as error:
                return type(error).__name__, len(tries)

        return run

    def test_a_conflict_is_tried_again(self, run):
        assert run(errors.SerializationFailure(), errors.DeadlockDetected()) == ("done", 3)

    def test_not_for_ever(self, run):
        assert run(*(errors.DeadlockDetected() for _ in range(9))) == ("Contention", contention.MAX_TRIES)

    def test_a_lock_timeout_is_not(self, run):
        assert run(errors.LockNotAvailable()) == ("Contention", 1)

    def test_another_error_is_not(self, run):
        assert run(errors.AdminShutdown()) == ("OperationalError", 1)
