"""Staging settings: those of production, under another name."""

from config.settings.production import *  # noqa: F403  nothing differs but the environment it is given
