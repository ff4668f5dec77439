"""The WSGI application that gunicorn serves: `config.wsgi:application`."""

import sys
from typing import Final

from django.core.wsgi import get_wsgi_application

from config.environment import ConfigurationError

# What makes gunicorn stop, rather than start worker after worker. With docker/gunicorn.conf.py it never comes to that:
# the arbiter has read the configuration before.
WORKER_BOOT_ERROR: Final = 3

try:
    application = get_wsgi_application()
except ConfigurationError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(WORKER_BOOT_ERROR)
