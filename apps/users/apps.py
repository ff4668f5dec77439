from django.apps import AppConfig
from django.contrib.admin import apps as admin


class UsersConfig(AppConfig):
    name = "apps.users"
    default = True

    def ready(self) -> None:
        from apps.users import metrics  # noqa: F401, PLC0415  whose series are there before the first request


class LimitedAdminConfig(admin.AdminConfig):
    """Django's admin, whose login is under the login limits."""

    default = False
    default_site = "apps.users.admin_site.LimitedAdminSite"
