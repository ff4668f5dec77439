#!/usr/bin/env python
"""Django's command line, on the local settings unless DJANGO_SETTINGS_MODULE names others."""

import os
import sys

from django.core.management import execute_from_command_line

from config.env import ConfigurationError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")
    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(str(error))
