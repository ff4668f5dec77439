"""gunicorn, once the configuration is known to be good: `python -m server [options] config.wsgi:application`.

gunicorn reads WEB_CONCURRENCY by itself while it is imported, and would end in a traceback that shows what it found.
"""

import signal
import sys

from config.env import load


def main() -> None:
    """Start gunicorn, or end the process with what is wrong."""
    # A container's first process ignores what it has no handler for. Until gunicorn has its own there is nothing to drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    load()
    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]  # noqa: PLC0415  not before

    run(prog="gunicorn")


if __name__ == "__main__":
    main()
