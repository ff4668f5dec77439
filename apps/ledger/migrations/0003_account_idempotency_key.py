"""Idempotency key of the opening of an account. Old code leaves it null."""

# new-code-needs-this: the deployment migrates first, and /readyz/ is 503 until then

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_entries_are_append_only")]

    operations = [
        migrations.AddField("account", "idempotency_key", models.CharField(blank=True, max_length=255, null=True)),
        migrations.AddField("account", "opening_fingerprint", models.CharField(blank=True, max_length=64, null=True)),
        AddConstraintNotValid(
            "account",
            models.CheckConstraint(
                condition=models.Q(
                    models.Q(("idempotency_key", None), ("opening_fingerprint", None)),
                    models.Q(("idempotency_key__isnull", False), ("opening_fingerprint__isnull", False)),
                    _connector="OR",
                ),
                name="account_has_a_fingerprint_exactly_when_it_has_a_key",
            ),
        ),
    ]
