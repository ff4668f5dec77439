"""Start gunicorn after checking the configuration: `python -m server [options] config.wsgi:application`.

gunicorn reads WEB_CONCURRENCY while it is imported, and would end in a traceback that shows the value.
"""

import signal
import sys

from config.env import ConfigurationError, load


def main() -> None:
    """Start gunicorn, or exit with the configuration's problems."""
    # A container's first process ignores signals without a handler. Until gunicorn sets its own there is nothing to drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        load()
    except ConfigurationError as error:
        sys.exit(str(error))
    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]  # noqa: PLC0415  not before

    run(prog="gunicorn")


if __name__ == "__main__":
    main()
