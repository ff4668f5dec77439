"""The WSGI application that gunicorn serves: `config.wsgi:application`."""

import sys
from typing import Final

import django
from django.conf import settings
from django.urls import get_resolver

from apps.core.wsgi import LenientWSGIHandler
from config.env import ConfigurationError

# gunicorn stops at this exit code, where others make it start worker after worker. With server/gunicorn_conf.py the arbiter
# has read the configuration before.
WORKER_BOOT_ERROR: Final = 3

try:
    django.setup(set_prefix=False)
except ConfigurationError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(WORKER_BOOT_ERROR)
if settings.SENTRY_DSN:
    # Importing it takes a tenth of a second.
    from apps.core.observability import sentry

    sentry.start(
        dsn=settings.SENTRY_DSN,
        environment=settings.ENVIRONMENT,
        release=settings.REVISION,
        traces_sample_rate=settings.SENTRY_TRACES_SAMPLE_RATE,
    )
# It imports models, which need the applications.
from apps.core import housekeeping  # noqa: E402

housekeeping.start_publishing()
# Imports all views, and what they need, which the first request of a worker would do while others wait.
_ = get_resolver().reverse_dict
application = LenientWSGIHandler()
