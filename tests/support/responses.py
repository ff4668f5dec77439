"""Responses of every status and of every layer that can give one, and the headers that all of them carry."""

from django.db import OperationalError

from apps.core.middleware import probes as health
from apps.core.middleware import request_validation
from apps.users.models import LoginFailures
from tests.factories import PASSWORD
from tests.ledger.factories import AccountFactory

API_POLICY = {"default-src": "'none'", "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'"}

EVERYWHERE = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

ACCOUNTS = "/api/v1/accounts/"


def broken(error):
    def raising(*args):
        raise error

    return raising


class Answers:
    """One request for each status of the API, and for each layer that can answer."""

    def ok(self, https, monkeypatch):
        return 200, https.get(ACCOUNTS)

    def created(self, https, monkeypatch):
        return 201, https.post(ACCOUNTS, {}, content_type="application/json")

    def unchanged(self, https, monkeypatch):
        place = https.post(ACCOUNTS, {}, content_type="application/json").headers["Location"]
        return 304, https.get(place, headers={"If-None-Match": https.get(place).headers["ETag"]})

    def nothing_to_say(self, https, monkeypatch):
        return 204, https.delete("/api/token/")

    def malformed(self, https, monkeypatch):
        return 400, https.post(ACCOUNTS, "{", content_type="application/json")

    def another_host(self, https, monkeypatch):
        return 400, https.get(ACCOUNTS, headers={"Host": "evil.example"})

    def no_token(self, https, monkeypatch):
        return 401, https.get(ACCOUNTS, headers={"Authorization": "Token x"})

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

    def missing_object(self, https, monkeypatch):
        return 404, https.get(f"{ACCOUNTS}{AccountFactory().pk}/")

    def other_method(self, https, monkeypatch):
        return 405, https.put(ACCOUNTS)

    def other_method_at_a_probe(self, https, monkeypatch):
        return 405, https.post("/livez/")

    def other_type(self, https, monkeypatch):
        return 406, https.get(ACCOUNTS, headers={"Accept": "text/html"})

    def chunked(self, https, monkeypatch):
        return 411, https.get(ACCOUNTS, headers={"Transfer-Encoding": "chunked"})

    def too_large(self, https, monkeypatch):
        return 413, https.post(ACCOUNTS, "x" * 70_000, content_type="application/json")

    def not_json(self, https, monkeypatch):
        return 415, https.post(ACCOUNTS, "x", content_type="text/plain")

    def no_funds(self, https, monkeypatch):
        place = https.post(ACCOUNTS, {}, content_type="application/json").headers["Location"]
        body, key = {"amount": "1.00"}, {"Idempotency-Key": "k"}
        return 422, https.post(f"{place}withdrawals/", body, content_type="application/json", headers=key)

    def too_many_failures(self, https, monkeypatch):
        def log_in():
            body = {"username": "nobody", "password": "wrong"}
            return https.post("/api/token/", body, content_type="application/json")

        log_in()
        LoginFailures.objects.update(count=100)
        return 429, log_in()

    def a_bug(self, https, monkeypatch):
        monkeypatch.setattr("apps.ledger.models.AccountQuerySet.owned_by", broken(RuntimeError()))
        return 500, https.get(ACCOUNTS)

    def a_bug_while_debugging(self, https, monkeypatch):
        monkeypatch.setattr("django.conf.settings.DEBUG", True)
        return self.a_bug(https, monkeypatch)

    def a_bug_in_middleware(self, https, monkeypatch):
        monkeypatch.setattr(request_validation.RequestValidationMiddleware, "_reject", broken(RuntimeError()))
        return 500, https.get(ACCOUNTS)

    def no_database(self, https, monkeypatch):
        monkeypatch.setattr("apps.ledger.models.AccountQuerySet.owned_by", broken(OperationalError()))
        return 503, https.get(ACCOUNTS)

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
