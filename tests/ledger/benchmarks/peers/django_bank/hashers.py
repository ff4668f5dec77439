from django.contrib.auth import hashers


class Argon2PasswordHasher(hashers.Argon2PasswordHasher):
    """At the product's cost."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
