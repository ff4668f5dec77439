"""Tokens: the one text that finds them finds what the ORM finds by `TokenQuerySet`."""

import random
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from apps.users.authentication import ExpiringTokenAuthentication
from apps.users.models import Token, User, digest_of, new_key
from tests.factories import UserFactory

CASES = 200


def a_text(chance: random.Random, length: int) -> str:
    return "".join(chance.choices("abc '\"%\\\u00e9\u4e2d", k=chance.randrange(length)))


def a_user(chance: random.Random) -> User:
    """Make a user with any value in each column that has more than one."""
    user = UserFactory(email=f"{chance.getrandbits(32)}@example.org")
    user.is_active, user.is_staff, user.is_superuser = (chance.random() < share for share in (0.7, 0.5, 0.5))
    user.first_name, user.last_name = a_text(chance, 20), a_text(chance, 20)
    user.last_login = chance.choice([None, timezone.now() - timedelta(seconds=chance.random() * 1e6)])
    user.save()
    return user


def columns(row: User | Token) -> dict:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def found_by_authentication(key: str) -> tuple[dict, dict] | None:
    try:
        user, token = ExpiringTokenAuthentication().authenticate_credentials(key)
    except AuthenticationFailed:
        return None
    assert token.user is user
    assert not user._state.adding
    assert not token._state.adding
    return columns(user), columns(token)


def found_by_the_orm(key: str) -> tuple[dict, dict] | None:
    token = Token.objects.live(timezone.now()).with_key(key).select_related("user").first()
    return token and (columns(token.user), columns(token))


@pytest.mark.django_db
def test_authentication_finds_what_the_orm_finds(seed):
    chance, now, found = random.Random(seed), timezone.now(), []
    users = [a_user(chance) for _ in range(10)]
    for _ in range(CASES):
        key, lives = new_key(), timedelta(hours=chance.choice([-1, 1]) * (1 + chance.random()))
        Token.objects.create(
            user=chance.choice(users),
            digest=digest_of(key),
            created_at=now - timedelta(hours=3),
            expires_at=now + lives,
        )
        sent = key if chance.random() < 0.9 else key.swapcase()
        found.append(found_by_authentication(sent))

        assert found[-1] == found_by_the_orm(sent)

    assert None in found
    assert len(found) - found.count(None) > CASES / 10
