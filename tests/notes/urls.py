"""Views of notes beside the product's URLs: `pytest.mark.urls("tests.notes.urls")`."""

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import converters  # noqa: F401  registers canonical_uuid
from apps.core.conditional import conditional_response, precondition, tagged_response
from apps.core.contention import retry_on_contention
from apps.core.creation import create_once
from apps.core.fields import StrictSerializer, TextField
from apps.core.idempotency import optional_key, required_key
from apps.core.views import Endpoint, ListEndpoint, created_response
from config import urls
from tests.notes.models import Note

NOTES, KEYED_NOTES = "/api/v1/notes/", "/api/v1/keyed-notes/"


class NoteInput(StrictSerializer):
    text = TextField(max_length=100)


class NoteOutput(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields = ("id", "text")


class NotesView(ListEndpoint):
    schema = None  # in no OpenAPI document
    ordering = "-id"
    serializer_class = NoteOutput

    def get_queryset(self) -> QuerySet[Note]:
        return Note.objects.owned_by(self.caller_id)

    def key(self) -> str | None:
        return optional_key(self.request.headers)

    def post(self, request: Request) -> Response:
        key = self.key()
        body = self.validated_body(NoteInput)
        create = retry_on_contention(lambda: create_once(Note(owner_id=self.caller_id, **body), key=key, command=body))
        return created_response(create(), NoteOutput, url_name="note")


class KeyedNotesView(NotesView):
    def key(self) -> str | None:
        return required_key(self.request.headers)


class NoteView(Endpoint):
    schema = None

    def get(self, request: Request, note_id: UUID) -> Response:
        return conditional_response(
            request, NoteOutput(Note.objects.owned_by(self.caller_id).get_or_refuse(note_id)).data
        )

    @retry_on_contention
    @transaction.atomic(durable=True)
    def patch(self, request: Request, note_id: UUID) -> Response:
        body = self.validated_body(NoteInput)
        note = Note.objects.owned_by(self.caller_id).select_for_update().get_or_refuse(note_id)
        precondition(request, NoteOutput)(note)
        note.text = body["text"]
        note.save(update_fields=["text"])
        return tagged_response(NoteOutput(note).data)


handler400, handler403, handler404, handler500 = urls.handler400, urls.handler403, urls.handler404, urls.handler500
urlpatterns = [
    path("api/v1/notes/", NotesView.as_view(), name="notes"),
    path("api/v1/keyed-notes/", KeyedNotesView.as_view(), name="keyed-notes"),
    path("api/v1/notes/<canonical_uuid:note_id>/", NoteView.as_view(), name="note"),
    *urls.urlpatterns,
]
