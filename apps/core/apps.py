from typing import ClassVar

import structlog
from django.apps import AppConfig, apps


class CoreConfig(AppConfig):
    name = "apps.core"
    # Never deleted.
    table_privileges: ClassVar = {"core_housekeepingrun": "SELECT, INSERT, UPDATE"}

    def ready(self) -> None:
        from apps.core import creation, housekeeping  # noqa: F401, PLC0415  registers its series before the first request
        from apps.core.money import checks  # noqa: F401, PLC0415  registers a check
        from apps.core.observability import metrics  # noqa: PLC0415  registers its series before the first request

        kinds = [str(model._meta.model_name) for model in apps.get_models() if issubclass(model, creation.CreatedOnce)]
        metrics.with_all_label_values(creation.REPLAYS, kind=kinds)

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
