"""The index becomes a unique constraint; quick, because the index is there already."""

from django.db import migrations, models

ADD = """
    ALTER TABLE ledger_account ADD CONSTRAINT idempotency_key_opens_one_account_per_owner
    UNIQUE USING INDEX idempotency_key_opens_one_account_per_owner
"""
DROP = "ALTER TABLE ledger_account DROP CONSTRAINT idempotency_key_opens_one_account_per_owner"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_account_idempotency_key_index")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, DROP)],
            state_operations=[
                migrations.AddConstraint(
                    "account",
                    models.UniqueConstraint(
                        fields=("owner", "idempotency_key"), name="idempotency_key_opens_one_account_per_owner"
                    ),
                )
            ],
        )
    ]
