from django.core.management.base import BaseCommand

from config import secrets_manager
from config.env import KEYS, load, unknown_secret_names


class Command(BaseCommand):
    help = "Show where each key of the configuration comes from and whether it is required here; never a value."

    def handle(self, *args: object, **options: object) -> None:
        env = load()
        self.stdout.write(f"{'KEY':<26}{'SOURCE':<13}REQUIRED")
        for name, key in sorted(KEYS.items()):
            self.stdout.write(f"{name:<26}{env.sources[name]:<13}{'yes' if env.name in key.required_in else 'no'}")
        for name in unknown_secret_names(secrets_manager.cached_or_none() or {}):
            self.stderr.write(f"{name} is in the secret and no key that is read from it")
