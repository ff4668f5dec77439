"""Admin login under the same failure limits as the API."""

from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse

from apps.core.throttling import address_of
from apps.users.errors import InvalidCredentials, TooManyLoginFailures
from apps.users.login_attempts import login_attempt


class LimitedAuthenticationForm(AdminAuthenticationForm):
    """Django's form under the failure limits."""

    retry_after_s: int | None = None
    """The wait, if a limit refused the attempt."""

    def clean(self) -> dict[str, Any]:
        username, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if username and password:
            try:
                self._log_in(username, password)
            except InvalidCredentials:
                raise self.get_invalid_login_error() from None
            except TooManyLoginFailures as refusal:
                self.retry_after_s = refusal.retry_after_s
                raise ValidationError(refusal.detail, code=refusal.code) from None
        return self.cleaned_data

    def _log_in(self, username: str, password: str) -> None:
        assert self.request is not None  # noqa: S101  the login view sets it
        with login_attempt(username=username, address=address_of(self.request), channel="admin") as attempt:
            self.user_cache = authenticate(self.request, username=username, password=password)
            if self.user_cache is None:
                raise InvalidCredentials
            attempt.password_matched(self.user_cache)
            try:
                self.confirm_login_allowed(self.user_cache)
            except ValidationError:
                # The right password of a user who is not staff gets the same message.
                raise InvalidCredentials from None


class LimitedAdminSite(AdminSite):
    """The admin with the limited form; a refused attempt gets status 429 and Retry-After."""

    login_form = LimitedAuthenticationForm
    site_header = site_title = settings.PRODUCT_TITLE

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().login(request, extra_context)
        form = (getattr(response, "context_data", None) or {}).get("form")
        if form is not None and form.retry_after_s is not None:
            response.status_code = 429
            response.headers["Retry-After"] = str(form.retry_after_s)
        return response
