"""Production under another name: what passes here is what production runs."""

from config.settings.production import *  # noqa: F403  nothing differs but the environment it is given
