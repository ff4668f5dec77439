"""How passwords are stored: hashed in their canonical form, whoever calls the hasher."""

import contextlib
from typing import Any

from django.contrib.auth import hashers

from apps.users.passwords import PasswordRefused, canonical


class CanonicalPasswords(hashers.BasePasswordHasher):
    """For every class in PASSWORD_HASHERS: hashes and checks a password's canonical form.

    Here and not in fields, forms or the model, since all roads end here: `createsuperuser` asks no validator where it reads
    the environment, and `make_password` no model.
    """

    def encode(self, password: str, *args: Any) -> str:
        return super().encode(canonical(password), *args)

    def verify(self, password: str, encoded: str) -> bool:
        try:
            return super().verify(canonical(password), encoded)
        except PasswordRefused:
            return False

    def harden_runtime(self, password: str, encoded: str) -> None:
        with contextlib.suppress(PasswordRefused):
            super().harden_runtime(password, encoded)


class BoundedArgon2PasswordHasher(CanonicalPasswords, hashers.Argon2PasswordHasher):
    """Argon2id at OWASP's floor: 19 MiB, 2 passes, 1 lane.

    Django's default takes 100 MiB a hash, so the eight threads of one container could ask for 800 MiB at once.
    Source: OWASP Password Storage Cheat Sheet.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1


class PBKDF2PasswordHasher(CanonicalPasswords, hashers.PBKDF2PasswordHasher):
    """Django's, for hashes that come from elsewhere; they are hashed anew at the first login."""


class CheapPasswordHasher(CanonicalPasswords, hashers.MD5PasswordHasher):
    """Takes no time, for tests, and protects nothing."""
