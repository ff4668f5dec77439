import structlog
from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        from apps.core import housekeeping  # noqa: F401, PLC0415  registers its series before the first request
        from apps.core.observability import metrics  # noqa: F401, PLC0415  registers its series before the first request

        # structlog's own loggers log through the standard library, and so through apps.core.observability.logs.
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.filter_by_level,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )
