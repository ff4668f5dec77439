"""Password hashers, which hash the canonical form of a password."""

import contextlib
from typing import Any

from django.contrib.auth import hashers

from apps.users.passwords import PasswordRefused, canonicalize


class CanonicalPasswordMixin(hashers.BasePasswordHasher):
    """Hashes and checks the canonical form of a password. Every class in PASSWORD_HASHERS has it.

    In the hasher and not in fields, forms or the model, because every password passes a hasher: `createsuperuser` runs no
    validator on a password from the environment, and `make_password` uses no model.
    """

    def encode(self, password: str, *args: Any) -> str:
        return super().encode(canonicalize(password), *args)

    def verify(self, password: str, encoded: str) -> bool:
        try:
            return super().verify(canonicalize(password), encoded)
        except PasswordRefused:
            return False

    def harden_runtime(self, password: str, encoded: str) -> None:
        with contextlib.suppress(PasswordRefused):
            super().harden_runtime(password, encoded)


class BoundedArgon2PasswordHasher(CanonicalPasswordMixin, hashers.Argon2PasswordHasher):
    """Argon2id at OWASP's floor: 19 MiB, 2 passes, 1 lane.

    Django's default takes 100 MiB a hash, so the eight threads of one container could need 800 MiB at once.
    Source: OWASP Password Storage Cheat Sheet.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1


class PBKDF2PasswordHasher(CanonicalPasswordMixin, hashers.PBKDF2PasswordHasher):
    """Django's, for imported hashes; the first login replaces them."""


class CheapPasswordHasher(CanonicalPasswordMixin, hashers.MD5PasswordHasher):
    """Fast and insecure, for tests."""
