"""Responses of every status and of every layer that can give one, and the headers that all of them carry."""

from collections.abc import Callable
from typing import Any

from django.db import OperationalError

from apps.core.middleware import probes as health
from apps.core.middleware import request_validation
from apps.users.models import LoginFailures
from tests.factories import PASSWORD
from tests.support.endpoints import APPS, unite

API_POLICY = {"default-src": "'none'", "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'"}

EVERYWHERE = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

ME = "/api/v1/users/me/"
USERS = "/api/v1/users/"
# The last step of a GET of it.
MAKES_THE_BODY = "apps.users.views.MeView.get"


def broken(error):
    def raising(*args):
        raise error

    return raising


class Answers:
    """One request for each status of the API, and for each layer that can answer."""

    def ok(self, https, monkeypatch):
        return 200, https.get(ME)

    def created(self, https, monkeypatch):
        return 201, https.post(USERS, {"username": "eve", "password": PASSWORD}, content_type="application/json")

    def nothing_to_say(self, https, monkeypatch):
        return 204, https.delete("/api/token/")

    def malformed(self, https, monkeypatch):
        return 400, https.post(USERS, "{", content_type="application/json")

    def another_host(self, https, monkeypatch):
        return 400, https.get(ME, headers={"Host": "evil.example"})

    def no_token(self, https, monkeypatch):
        return 401, https.get(ME, headers={"Authorization": "Token x"})

    def forbidden(self, https, monkeypatch):
        monkeypatch.setattr("django.conf.settings.SIGN_UP_OPEN", False)
        body = {"username": "eve", "password": PASSWORD}
        return 403, https.post("/api/v1/users/", body, content_type="application/json")

    def unknown_url(self, https, monkeypatch):
        return 404, https.get("/nowhere")

    def unknown_url_while_debugging(self, https, monkeypatch):
        monkeypatch.setattr("django.conf.settings.DEBUG", True)
        return 404, https.get("/nowhere")

    def unknown_static_file(self, https, monkeypatch):
        return 404, https.get("/static/nothing.css")

    def other_method(self, https, monkeypatch):
        return 405, https.put(ME)

    def other_method_at_a_probe(self, https, monkeypatch):
        return 405, https.post("/livez/")

    def other_type(self, https, monkeypatch):
        return 406, https.get(ME, headers={"Accept": "text/html"})

    def chunked(self, https, monkeypatch):
        return 411, https.get(ME, headers={"Transfer-Encoding": "chunked"})

    def too_large(self, https, monkeypatch):
        return 413, https.post(USERS, "x" * 70_000, content_type="application/json")

    def not_json(self, https, monkeypatch):
        return 415, https.post(USERS, "x", content_type="text/plain")

    def too_many_failures(self, https, monkeypatch):
        def log_in():
            body = {"username": "nobody", "password": "wrong"}
            return https.post("/api/token/", body, content_type="application/json")

        log_in()
        LoginFailures.objects.update(count=100)
        return 429, log_in()

    def a_bug(self, https, monkeypatch):
        monkeypatch.setattr(MAKES_THE_BODY, broken(RuntimeError()))
        return 500, https.get(ME)

    def a_bug_while_debugging(self, https, monkeypatch):
        monkeypatch.setattr("django.conf.settings.DEBUG", True)
        return self.a_bug(https, monkeypatch)

    def a_bug_in_middleware(self, https, monkeypatch):
        monkeypatch.setattr(request_validation.RequestValidationMiddleware, "_reject", broken(RuntimeError()))
        return 500, https.get(ME)

    def no_database(self, https, monkeypatch):
        monkeypatch.setattr(MAKES_THE_BODY, broken(OperationalError()))
        return 503, https.get(ME)

    def alive(self, https, monkeypatch):
        return 200, https.get("/livez/")

    def ready(self, https, monkeypatch):
        return 200, https.get("/readyz/")

    def ping(self, https, monkeypatch):
        return 200, https.get("/ping/")

    def ping_without_a_database(self, https, monkeypatch):
        monkeypatch.setattr(health.database, "passes", lambda _: False)
        return 503, https.get("/ping/")

    def document(self, https, monkeypatch):
        return 200, https.get("/schema/")


# Those of the apps are statuses that nothing here has.
ANSWERS: dict[str, Callable[..., tuple[int, Any]]] = unite(
    [
        {name: getattr(Answers(), name) for name in vars(Answers) if not name.startswith("_")},
        *(app.answers for app in APPS.values()),
    ]
)
