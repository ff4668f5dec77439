from typing import ClassVar

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class UsersConfig(AppConfig):
    name = "apps.users"
    default = True
    table_privileges: ClassVar = {"users_token": "SELECT, INSERT, DELETE"}

    def ready(self) -> None:
        from apps.users import housekeeping, metrics  # noqa: F401, PLC0415  registers tasks and metrics at the start


class LimitedAdminConfig(admin.AdminConfig):
    """Django's admin with a login under the failure limits."""

    default = False
    default_site = "apps.users.admin_site.LimitedAdminSite"
