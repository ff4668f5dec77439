"""The database backend of every environment: `ENGINE = "config.postgresql"`. What it adds is in base.py."""
