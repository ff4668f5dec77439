"""Deactivation of a user from the command line: it ends the user's tokens, and logging in again."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.users.models import User


class Command(BaseCommand):
    """Deactivate one user; a trigger deletes the tokens. Running it again changes nothing."""

    help = "Deactivate a user: their tokens end at once, and they cannot log in. The account and its records stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        if not User.objects.filter(username=options["username"]).update(is_active=False):
            message = f"there is no user {options['username']}"
            raise CommandError(message)
        self.stdout.write(f"{options['username']} is deactivated.")
