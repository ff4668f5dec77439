"""Models of users and tokens, and the storage of passwords."""

import threading

import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.db import connection

from apps.core.errors import InvalidField
from apps.users.models import LoginFailures, Token, User
from apps.users.use_cases.register_user import RegisterUser
from tests.factories import PASSWORD


def test_passwords_are_kept_by_argon2id_with_a_bounded_memory_cost(settings):
    settings.PASSWORD_HASHERS = ["apps.users.hashers.BoundedArgon2PasswordHasher"]

    encoded = make_password(PASSWORD)

    assert encoded.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert check_password(PASSWORD, encoded)


def test_rows_name_themselves_without_secrets():
    assert str(Token(digest=b"secret")).startswith("token ")
    assert str(LoginFailures(scope="s", count=3)).startswith("3 until")


@pytest.mark.django_db(transaction=True)
def test_two_who_want_one_name_at_once():
    start, answers = threading.Barrier(2), []

    def register():
        try:
            start.wait()
            RegisterUser(username="ada", password=PASSWORD).execute()
            answers.append("made")
        except InvalidField as refusal:
            answers.append(refusal.field_errors[0].code)
        finally:
            connection.close()

    threads = [threading.Thread(target=register) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == ["made", "unique"]
    assert User.objects.count() == 1
