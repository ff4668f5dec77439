"""NUL characters, which PostgreSQL stores in no text, are refused before any code of the admin, Django or silk."""

import pytest
from django.contrib.admin import site
from django.test import Client

from tests.factories import PASSWORD, UserFactory
from tests.support.endpoints import rows
from tests.support.forms import MULTIPART, URLENCODED, part
from tests.support.problems import assert_problem

pytestmark = pytest.mark.django_db

LISTS = sorted(f"{model._meta.app_label}/{model._meta.model_name}" for model in site._registry)
QUERIES = [
    "q=%00", "q=a%00b", "o=%00", "p=%00", "e=%00", "all=%00", "id=%00", "id__exact=%00", "pk__in=%00", "%00=1", "a%00=1",
    "status__exact=%00", "currency=%00", "currency__exact=%00", "kind__exact=%00", "decline_code__exact=%00", "is_staff=%00",
    "_changelist_filters=q%3D%00", "_popup=%00", "_to_field=%00", "owner__username=%00", "x=1&currency=US%00", "\x00=1",
    "username=%00", "is_active__exact=%00",
]  # fmt: skip  # a table: many short values to a line


@pytest.fixture
def admin(db) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.mark.parametrize("table", LISTS)
def test_in_any_parameter_of_the_admin(admin, table):
    for query in QUERIES:
        problem = assert_problem(admin.get(f"/admin/{table}/?{query}"), 400, "invalid_parameter")
        assert len(problem["errors"]) == 1


@pytest.mark.parametrize("page", ["autocomplete/", "jsi18n/", "login/", "logout/", "password_change/", ""])
def test_in_a_parameter_of_its_other_pages(admin, page):
    assert_problem(admin.get(f"/admin/{page}?next=%00"), 400, "invalid_parameter")
    assert_problem(admin.post(f"/admin/{page}?next=/%00"), 400, "invalid_parameter")


@pytest.mark.parametrize(
    "path",
    [
        "/admin/%00", "/admin/users/user/%00/change/", "/admin/users/user/a%00b/history/", "/admin/users/user/%00/",
        "/admin/users/user/%00/password/", "/admin/auth/group/%00/delete/", "/admin/r/%00/1/", "/admin/r/1/%00/", "/%00",
        "/static/%00.css", "/silk/request/%00/", "/ping/%00", "/schema/%00", "/schema/swagger-ui/%00",
        "/api/v1/users/%00/", "/api/token/%00",
    ],
)  # fmt: skip  # a table: many short values to a line
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_in_a_path(admin, path, method):
    assert_problem(admin.generic(method, path), 404, "not_found")


FORMS = {
    "a value": (URLENCODED, b"username=a%00&password=x"),
    "a raw value": (URLENCODED, b"username=a\x00&password=x"),
    "a name": (URLENCODED, b"a%00=1"),
    "a chosen row": (URLENCODED, b"action=delete_selected&_selected_action=%00"),
    "a part": (MULTIPART, part("username", "a\x00") + b"--b--\r\n"),
    "a part's name": (MULTIPART, part("user\x00name", "a") + b"--b--\r\n"),
    "an encoded part": (
        MULTIPART,
        part("username", "AGE=").replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + b"--b--\r\n",
    ),
    "a part's encoded name": (MULTIPART, part("x", "x", "; name*=utf-8''a%00b") + b"--b--\r\n"),
    "a file's encoded name for its field": (
        MULTIPART,
        part("x", "x", "; name*=utf-8''a%00b; filename=x.png") + b"--b--\r\n",
    ),
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("page", ["login/?next=/admin/", "users/user/add/", "users/user/", "auth/group/", "logout/"])
def test_in_a_form(admin, page, kind):
    content_type, body = FORMS[kind]
    before = rows()

    assert_problem(admin.post(f"/admin/{page}", body, content_type=content_type), 400, "invalid_request")
    assert rows() == before


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=\xff"])
def test_a_form_that_cannot_be_read_is_no_failure_of_ours(admin, content_type):
    assert_problem(admin.post("/admin/login/", part("x", "x"), content_type=content_type), 400, "invalid_request")


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/api/v1/users/me/", "/schema/"])
def test_in_a_cookie_which_django_unquotes(path):
    client = Client(
        raise_request_exception=False, headers={"Cookie": r'sessionid="aaaaaaaa\000aaaaaaaaaaaaaaaaaaaaaaa"'}
    )

    assert_problem(client.get(path), 400, "invalid_request")


@pytest.mark.parametrize("path", ["/schema/?x=%00", "/api/v1/users/me/?x=%00", "/nowhere?x=%00", "/static/a.css?x=%00"])
def test_in_a_parameter_of_what_has_none(client, path):
    assert_problem(client.get(path), 400, "invalid_parameter")


@pytest.mark.parametrize("path", ["/livez/?x=%00", "/ping/?x=%00", "/readyz/?x=%00"])
def test_a_probe_reads_no_parameter(client, path):
    assert client.get(path).status_code == 200


def test_what_only_looks_like_it_goes_on(admin):
    for query in ("q=%2500", "q=\\0", "q=%C0%80", "q=0"):
        assert admin.get(f"/admin/users/user/?{query}").status_code == 200, query


def test_an_ordinary_form_is_read_after_it_was_looked_at(db):
    UserFactory(username="ada", is_staff=True)
    for content in ({"content_type": URLENCODED, "data": f"username=ada&password={PASSWORD.replace(' ', '+')}"},
                    {"data": {"username": "ada", "password": PASSWORD}}):  # fmt: skip  # the two of a kind
        assert Client().post("/admin/login/?next=/admin/", **content).status_code == 302
        assert Client().post("/api/token/", **content).status_code == 200
