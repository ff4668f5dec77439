"""How passwords are stored."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class BoundedArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2id at OWASP's floor: 19 MiB, 2 passes, 1 lane.

    Django's default takes 100 MiB a hash, so the eight threads of one container could ask for 800 MiB at once.
    Source: OWASP Password Storage Cheat Sheet.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
