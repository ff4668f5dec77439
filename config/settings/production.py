"""What a deployment runs: `base` as it stands. Secrets and hosts have no default: without them the process ends."""

from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
