from django.apps import AppConfig
from django.contrib.admin import apps as admin


class UsersConfig(AppConfig):
    name = "apps.users"
    default = True

    def ready(self) -> None:
        from apps.users import housekeeping, metrics  # noqa: F401, PLC0415  what they register is there from the start


class LimitedAdminConfig(admin.AdminConfig):
    """Django's admin, whose login is under the login limits."""

    default = False
    default_site = "apps.users.admin_site.LimitedAdminSite"
