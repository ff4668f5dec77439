import structlog
from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        from apps.core import housekeeping  # noqa: F401, PLC0415  whose series are there before the first request
        from apps.core.observability import metrics  # noqa: F401, PLC0415  whose series are there before the first request

        # Its own loggers speak through the standard library's, and so through apps.core.observability.logs.
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
