"""Production settings: `base` unchanged. Secrets and hosts have no default: without them the process does not start."""

from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
