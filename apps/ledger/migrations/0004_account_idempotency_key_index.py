"""The slow steps on a large table, without a lock that blocks writes: building an index, validating a constraint."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

CREATE_INDEX = """
    CREATE UNIQUE INDEX CONCURRENTLY account_is_created_once_per_key
    ON ledger_account (owner_id, idempotency_key)
"""
DROP_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS account_is_created_once_per_key"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("ledger", "0003_account_idempotency_key")]

    operations = [
        migrations.RunSQL(CREATE_INDEX, DROP_INDEX),
        ValidateConstraint("account", name="account_key_comes_with_a_fingerprint"),
    ]
