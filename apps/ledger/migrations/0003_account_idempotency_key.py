"""Idempotency key of the opening of an account. Old code leaves it null."""

# new-code-needs-this: the deployment migrates first, and /readyz/ is 503 until then

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_entries_are_append_only")]

    operations = [
        migrations.AddField("account", "idempotency_key", models.CharField(blank=True, editable=False, max_length=255, null=True)),
        migrations.AddField("account", "creation_fingerprint", models.CharField(blank=True, editable=False, max_length=64, null=True)),
        AddConstraintNotValid(
            "account",
            models.CheckConstraint(
                condition=models.Q(
                    models.Q(("creation_fingerprint", None), ("idempotency_key", None)),
                    models.Q(("creation_fingerprint__isnull", False), ("idempotency_key__isnull", False)),
                    _connector="OR",
                ),
                name="account_key_comes_with_a_fingerprint",
            ),
        ),
    ]
