"""Factories of users and their tokens. Those of an app stand in tests/<app>/factories.py."""

import itertools
import uuid
from datetime import timedelta
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory
from rest_framework.test import APIClient

from apps.users.models import Token, User, digest_of, new_key

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def new_idempotency_key() -> str:
    return str(uuid.uuid4())


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    username = factory.LazyFunction(lambda: f"customer-{next(_numbers)}-{uuid.uuid4().hex[:8]}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        return model_class.objects.create_user(*args, password=kwargs.pop("password", PASSWORD), **kwargs)


def token_of(user: User) -> str:
    """Issue a token without the cost of a login."""
    key, now = new_key(), timezone.now()
    Token.objects.create(user=user, digest=digest_of(key), created_at=now, expires_at=now + timedelta(hours=1))
    return key


def client_of(user: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token_of(user)}")
    return client
