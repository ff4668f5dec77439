from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        from apps.core import metrics  # noqa: F401, PLC0415  whose series are there before the first request
