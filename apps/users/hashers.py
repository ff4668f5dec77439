"""Password hashers, which hash the canonical form of a password, one at a time in each process.

Note [Hashes wait for requests]
A hash takes as much of the CPU as twenty other requests, so a storm of logins would slow all others. Each process therefore
computes one hash at a time, and no more than PASSWORDS_HASHED_AT_ONCE requests may have a place there, waiting included, so
that the other threads stay free. A login takes its place before it reserves a failure in the database, because all
attempts from one address wait for one row.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth import hashers

from apps.users.errors import TooManyHashes
from apps.users.passwords import PasswordRefused, canonicalize

T = TypeVar("T")


class _Hashing:
    """The turn to hash in this process, and the places of those that wait for it."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(settings.PASSWORDS_HASHED_AT_ONCE)
        self._turn = threading.RLock()
        self._thread = threading.local()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places in the block, unless this thread has one. Raises: TooManyHashes."""
        if hasattr(self._thread, "has_place"):
            yield
            return
        if not self._places.acquire(blocking=False):
            raise TooManyHashes
        self._thread.has_place = True
        try:
            yield
        finally:
            del self._thread.has_place
            self._places.release()

    def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns, when it is its turn. Raises: TooManyHashes."""
        # A hasher's `verify` may call its `encode`, hence the RLock.
        with self.place(), self._turn:
            return call()


@functools.cache
def _hashing() -> _Hashing:
    return _Hashing()


# A child has none of the threads that hold a place in its parent.
os.register_at_fork(after_in_child=_hashing.cache_clear)


def hashing_place() -> contextlib.AbstractContextManager[None]:
    """Hold a place for the hashes of the block. See Note [Hashes wait for requests]. Raises: TooManyHashes."""
    return _hashing().place()


class OneAtATimeMixin(hashers.BasePasswordHasher):
    """Hashes when it is its turn. See Note [Hashes wait for requests]. Raises: TooManyHashes."""

    def encode(self, *args: Any) -> str:
        encode = super().encode
        return _hashing().run(lambda: encode(*args))

    def verify(self, password: str, encoded: str) -> bool:
        verify = super().verify
        return _hashing().run(lambda: verify(password, encoded))

    def harden_runtime(self, password: str, encoded: str) -> None:
        harden_runtime = super().harden_runtime
        _hashing().run(lambda: harden_runtime(password, encoded))


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


class BoundedArgon2PasswordHasher(CanonicalPasswordMixin, OneAtATimeMixin, hashers.Argon2PasswordHasher):
    """Argon2id at OWASP's floor: 19 MiB, 2 passes, 1 lane.

    Django's default takes 100 MiB a hash, so the eight threads of one container could need 800 MiB at once.
    Source: OWASP Password Storage Cheat Sheet.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1


class PBKDF2PasswordHasher(CanonicalPasswordMixin, OneAtATimeMixin, hashers.PBKDF2PasswordHasher):
    """Django's, for imported hashes; the first login replaces them."""


class CheapPasswordHasher(CanonicalPasswordMixin, hashers.MD5PasswordHasher):
    """Fast and insecure, for tests."""
