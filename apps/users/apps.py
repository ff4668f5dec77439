from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "apps.users"

    def ready(self) -> None:
        from apps.users import metrics  # noqa: F401, PLC0415  whose series are there before the first request
