"""Password hasher that records each check in a file, from every process and thread of a server."""

import os
import time

from django.contrib.auth.hashers import MD5PasswordHasher

FILE = "CHECKED_PASSWORDS"
# A real hash takes its time, in which guesses meet.
A_HASH_S = 0.01


class CountingHasher(MD5PasswordHasher):
    """Writes down each password it is given; to check one is to encode it, for an unknown name too."""

    def encode(self, password: str, salt: str) -> str:
        # Short and appended by one call: lines of two processes do not mix.
        with open(os.environ[FILE], "ab", buffering=0) as file:  # noqa: PTH123, TID251  the parent sets it
            file.write(f"{password}\n".encode())
        time.sleep(A_HASH_S)
        return super().encode(password, salt)
