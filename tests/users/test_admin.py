"""Admin of users where one role owns the tables and serves: the grants do not protect the admin's log there."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import ProtectedError
from django.test import Client

from apps.users.models import User
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_a_user_with_lines_of_the_log_is_not_deleted():
    root = UserFactory(is_staff=True, is_superuser=True)
    browser = Client()
    browser.force_login(root)
    assert browser.post("/admin/auth/group/add/", {"name": "auditors"}).status_code == 302
    assert LogEntry.objects.filter(user=root).count() == 1

    response = browser.post(f"/admin/users/user/{root.pk}/delete/", {"post": "yes"})

    assert response.status_code == 200
    assert "The admin&#x27;s log of" in response.content.decode()
    with pytest.raises(ProtectedError), transaction.atomic():
        root.delete()
    with pytest.raises(ProtectedError), transaction.atomic():
        LogEntry.objects.all().delete()
    assert User.objects.filter(pk=root.pk).exists()
    assert LogEntry.objects.filter(user=root).count() == 1
