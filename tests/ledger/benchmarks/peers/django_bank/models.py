"""Models of the tables in schema.sql."""

# ruff: noqa: DJ008  # nobody prints them

import hashlib

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from uuid_utils.compat import uuid7


class Customer(AbstractBaseUser):
    id = models.UUIDField(primary_key=True)
    username = models.TextField(unique=True)
    password = models.TextField()
    last_login = None
    is_staff = False
    is_active = True

    USERNAME_FIELD = "username"
    objects = BaseUserManager()

    class Meta:
        managed = False
        db_table = "customer"


class Token(models.Model):
    """A token by its SHA-256, as the product stores it."""

    digest = models.BinaryField(primary_key=True)
    user = models.ForeignKey(Customer, on_delete=models.CASCADE, db_column="customer_id")
    expires_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "token"


class Account(models.Model):
    id = models.UUIDField(primary_key=True)
    owner = models.ForeignKey(Customer, on_delete=models.PROTECT)
    name = models.TextField()
    currency = models.CharField(max_length=3)
    balance = models.DecimalField(max_digits=19, decimal_places=4)
    version = models.BigIntegerField()
    status = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "account"


class Movement(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    idempotency_key = models.TextField()
    kind = models.TextField()
    source_id = models.UUIDField(null=True)
    destination_id = models.UUIDField(null=True)
    amount = models.DecimalField(max_digits=19, decimal_places=4)
    currency = models.CharField(max_length=3)
    reference = models.TextField()
    created_by = models.ForeignKey(Customer, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        managed = False
        db_table = "movement"


class Entry(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    movement = models.ForeignKey(Movement, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    sequence = models.BigIntegerField()
    amount = models.DecimalField(max_digits=19, decimal_places=4)
    balance_after = models.DecimalField(max_digits=19, decimal_places=4)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        managed = False
        db_table = "entry"


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
