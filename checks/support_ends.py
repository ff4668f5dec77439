"""Ends of support of the lines of the images and of Django: fail two months before the first of them.

    python -m checks.support_ends

security.yml runs this each week. `tests/deploy/test_base_images.py` holds the images in all files to these lines.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import datetime as dt
import sys
from typing import Final

DAYS_BEFORE: Final = 60
# The line that is used, and the last day on which its maintainers mend it.
SUPPORTED: Final = {
    "python": ("3.13", "2029-10-31"),  # PEP 719
    "postgres": ("18", "2030-11-14"),  # postgresql.org/support/versioning
    "redis": ("8", "2027-11-30"),  # the newest major version, without a date: look again then
    "nginx": ("1.30", "2027-04-30"),  # until the next stable branch: one each April
    "prom/prometheus": ("v3.13", "2027-07-31"),  # prometheus.io/docs/introduction/release-cycle: long-term support
    "grafana/grafana": ("12.4", "2027-05-24"),  # the last minor version of 12: 15 months
    "django": ("5.2", "2028-04-30"),  # djangoproject.com/download: long-term support
}


def ending(today: dt.date) -> list[str]:
    """Return a line for each that ends within DAYS_BEFORE of a day."""
    limit = today + dt.timedelta(days=DAYS_BEFORE)
    return [
        f"{name} {line}: support ends on {end}"
        for name, (line, end) in SUPPORTED.items()
        if dt.date.fromisoformat(end) <= limit
    ]


def main() -> int:
    """Print what ends; return 1 if anything does."""
    found = ending(dt.datetime.now(dt.UTC).date())
    print("\n".join(found) or f"all {len(SUPPORTED)} lines are supported for {DAYS_BEFORE} days and more")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
