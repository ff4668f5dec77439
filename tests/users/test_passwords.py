"""The canonical form of passwords: every form and endpoint accepts the same ones, in any Unicode spelling."""

import io
import unicodedata
from unittest.mock import patch

import pytest
from django.contrib.auth import SESSION_KEY, authenticate
from django.contrib.auth.hashers import MD5PasswordHasher, check_password, make_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils.module_loading import import_string
from rest_framework.test import APIClient

from apps.users.hashers import CanonicalPasswordMixin
from apps.users.models import User
from apps.users.passwords import canonicalize
from config.settings import base
from tests.factories import PASSWORD, UserFactory, client_of
from tests.support.api import log_in

pytestmark = pytest.mark.django_db


class Terminal(io.StringIO):
    def isatty(self):
        return True


def browser_of(user):
    browser = Client()
    browser.force_login(user)
    return browser


def root_posts(path, form):
    return browser_of(UserFactory(is_staff=True, is_superuser=True)).post(path, form).status_code == 302


# --- Entrances that set a password: each creates or changes `ada`, and returns whether it did ------------------------


def sign_up(password):
    return APIClient().post("/api/v1/users/", {"username": "ada", "password": password}).status_code == 201


def change_at_the_api(password):
    body = {"current_password": PASSWORD, "new_password": password}
    return client_of(UserFactory(username="ada")).post("/api/v1/users/me/password/", body).status_code == 204


def make_in_the_admin(password):
    form = {"username": "ada", "password1": password, "password2": password, "usable_password": "true"}
    return root_posts("/admin/users/user/add/", form)


def set_in_the_admin(password):
    form = {"password1": password, "password2": password, "usable_password": "true"}
    return root_posts(f"/admin/users/user/{UserFactory(username='ada').pk}/password/", form)


def change_in_the_admin(password):
    form = {"old_password": PASSWORD, "new_password1": password, "new_password2": password}
    browser = browser_of(UserFactory(username="ada", is_staff=True))
    return browser.post("/admin/password_change/", form).status_code == 302


def changepassword(password):
    UserFactory(username="ada")
    with patch("getpass.getpass", return_value=password):
        return done("changepassword", "ada")


def createsuperuser(password):
    # After two prompts the command is interrupted; a weak password is followed by a prompt whether to bypass validation.
    with (
        patch("getpass.getpass", side_effect=[password, password, KeyboardInterrupt]),
        patch("builtins.input") as answer,
    ):
        answer.return_value = "n"
        return done("createsuperuser", username="ada", email="", stdin=Terminal())


def createsuperuser_without_a_terminal(password):
    with patch.dict("os.environ", {"DJANGO_SUPERUSER_PASSWORD": password}):
        return done("createsuperuser", username="ada", email="", interactive=False)


def createsuperuser_all_the_same(password):
    with (
        patch("getpass.getpass", side_effect=[password, password, KeyboardInterrupt]),
        patch("builtins.input") as answer,
    ):
        answer.return_value = "y"
        return done("createsuperuser", username="ada", email="", stdin=Terminal())


def done(*args, **options):
    try:
        call_command(*args, **options, stdout=io.StringIO(), stderr=io.StringIO())
    except (CommandError, SystemExit):
        return False
    return True


def create_user(password):
    return not raised(User.objects.create_user, "ada", password=password)


def set_password(password):
    user = UserFactory(username="ada")
    return not raised(user.set_password, password) and user.save() is None


def assign(password):
    user = UserFactory(username="ada")
    try:
        user.password = make_password(password)
    except ValidationError:
        return False
    user.save()
    return True


def raised(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ValidationError:
        return True
    return False


VALIDATING = [sign_up, change_at_the_api, make_in_the_admin, set_in_the_admin, change_in_the_admin, changepassword]
VALIDATING += [createsuperuser]
# These do not validate the strength of a password.
UNVALIDATED = [createsuperuser_without_a_terminal, createsuperuser_all_the_same, create_user, set_password, assign]

# --- Entrances that check a password ----------------------------------------------------------------------------------


def at_the_apis_login(password):
    return log_in("ada", password).status_code == 200


def at_the_admins_login(password):
    User.objects.filter(username="ada").update(is_staff=True)
    browser = Client()
    browser.post("/admin/login/", {"username": "ada", "password": password})
    return SESSION_KEY in browser.session


def at_the_apis_change(password):
    # The new password is too weak: the old one is checked first.
    body = {"current_password": password, "new_password": "short"}
    answer = client_of(User.objects.get(username="ada")).post("/api/v1/users/me/password/", body).json()
    return [error["field"] for error in answer.get("errors", [])] == ["new_password"]


def at_the_admins_change(password):
    User.objects.filter(username="ada").update(is_staff=True)
    form = {"old_password": password, "new_password1": "short", "new_password2": "short"}
    answer = browser_of(User.objects.get(username="ada")).post("/admin/password_change/", form)
    # A NUL is refused before there is a form.
    return answer.status_code == 200 and "old_password" not in answer.context["form"].errors


def in_a_shell(password):
    return authenticate(username="ada", password=password) is not None


CHECK = [at_the_apis_login, at_the_admins_login, at_the_apis_change, at_the_admins_change, in_a_shell]

ACCEPTED = {
    "accents": "crème brûlée für alle",
    "two accents": "ệ ṩ ǭ ḗ in some order",
    "Hangul": "가나다라마바사아자차카타파하",
    "an Angstrom sign": "\u212b and \u00c5 are one, 0123",
    "compatible forms": "\ufb01ne \u2460 \uff26ull width",
    "spaces around": "  a phrase with spaces  ",
    "other spaces": "no\u00a0break\u2003em\u3000space",
    "no marks at all": "zero\u200bwidth and \u202ebidi",
    "emoji": "👩\u200d👩\u200d👧 family 🏳️\u200d🌈",
    "as long as may be": "é" * 128,
}
REFUSED = {
    "a tab": "a phrase with\ta tab",
    "a tab at the end": "a phrase with a tab\t",
    "a new line": "a phrase with\na line",
    "a return": "a phrase with\ra return",
    "NUL": "a phrase with\0a NUL",
    "a unit separator": "a phrase with\x1fa separator",
    "DEL": "a phrase with\x7fDEL",
    "NEL": "a phrase with\x85NEL",
    "too long": "correct horse battery staple" * 5,
    "one too long": "é" * 129,
    "longer when composed": "\u0958" * 65,
    "nothing but spaces": " " * 20,
    "nothing": "",
}
# One of each kind, for the slow entrances.
KINDS = ("a tab", "NUL", "one too long", "longer when composed", "nothing but spaces", "nothing")
WEAK = {
    "short when composed": "é" * 11,
    "common": "password1234",
    "a number": "202620272028",
}


def forms(password):
    return {unicodedata.normalize(form, password) for form in ("NFC", "NFD")} | {password}


def names(functions):
    return [function.__name__ for function in functions]


@pytest.mark.parametrize(
    ("set_it", "what"),
    [(sign_up, what) for what in ACCEPTED] + [(set_it, "accents") for set_it in [*VALIDATING[1:], *UNVALIDATED]],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_one_that_is_set_at_one_door_opens_all(set_it, what):
    typed = unicodedata.normalize("NFD", ACCEPTED[what])
    assert set_it(typed)

    for check in CHECK:
        for form in forms(ACCEPTED[what]):
            assert check(form), (check.__name__, ascii(form))
        assert not check(ACCEPTED[what][:-1]), check.__name__


@pytest.mark.parametrize("set_it", [*VALIDATING, *UNVALIDATED], ids=names([*VALIDATING, *UNVALIDATED]))
def test_one_that_is_refused_at_one_door_is_set_at_none(set_it):
    for what in KINDS:
        password = REFUSED[what]
        if "\0" in password and set_it is createsuperuser_without_a_terminal:
            # An environment variable cannot contain NUL.
            continue
        for form in forms(password):
            User.objects.filter(username="ada").delete()
            assert not set_it(form), (what, ascii(form))
            assert not any(check_password(form, user.password) for user in User.objects.filter(username="ada"))


@pytest.mark.parametrize("set_it", VALIDATING, ids=names(VALIDATING))
def test_one_that_is_weak_is_so_however_it_is_typed(set_it):
    for what, password in WEAK.items():
        for form in forms(password):
            User.objects.filter(username="ada").delete()
            assert not set_it(form), (what, ascii(form))


@pytest.mark.parametrize("check", CHECK, ids=names(CHECK))
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_one_that_is_refused_opens_no_door(check, known):
    if known or check in {at_the_apis_change, at_the_admins_change}:
        UserFactory(username="ada")

    for what in KINDS:
        assert not check(REFUSED[what]), what


@pytest.mark.parametrize("check", CHECK, ids=names(CHECK))
def test_nor_does_one_that_was_stored_before(check):
    user = UserFactory(username="ada")
    for what in ("a tab", "DEL"):
        password = REFUSED[what]
        # By the hasher that CheapPasswordHasher extends.
        user.password = MD5PasswordHasher().encode(password, "salt" * 6)
        assert MD5PasswordHasher().verify(password, user.password)
        user.save()

        assert not check(password), what


@pytest.mark.parametrize("hasher", ["BoundedArgon2PasswordHasher", "PBKDF2PasswordHasher", "CheapPasswordHasher"])
def test_every_hasher_has_one_form(settings, monkeypatch, hasher):
    settings.PASSWORD_HASHERS = [f"apps.users.hashers.{hasher}"]
    encoded = make_password(unicodedata.normalize("NFD", ACCEPTED["accents"]))
    for form in forms(ACCEPTED["accents"]):
        assert check_password(form, encoded)
    # Also where it was stored at a lower cost, so that harden_runtime() runs for a wrong password.
    monkeypatch.setattr("apps.users.hashers.PBKDF2PasswordHasher.iterations", 1_000_001)
    for password in REFUSED.values():
        assert not check_password(password, encoded)


def test_all_hashers_of_a_deployment_have_it():
    assert all(issubclass(import_string(name), CanonicalPasswordMixin) for name in base.PASSWORD_HASHERS)


@pytest.mark.parametrize("password", [*REFUSED.values(), "lone \ud800 surrogate", "\udcff from a terminal"], ids=ascii)
def test_what_is_refused_is_refused_as_django_expects(password):
    """Commands and forms treat it as an invalid password, and `authenticate` as a wrong one."""
    with pytest.raises(ValidationError) as refusal:
        canonicalize(password)

    assert isinstance(refusal.value, PermissionDenied)
    assert password.strip() == "" or password not in str(refusal.value)
    assert authenticate(username="nobody", password=password) is None
