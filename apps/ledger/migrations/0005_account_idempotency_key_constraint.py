"""The index becomes a unique constraint; quick, because the index is there already."""

from django.db import migrations, models

ADD = """
    ALTER TABLE ledger_account ADD CONSTRAINT account_is_created_once_per_key
    UNIQUE USING INDEX account_is_created_once_per_key
"""
DROP = "ALTER TABLE ledger_account DROP CONSTRAINT account_is_created_once_per_key"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_account_idempotency_key_index")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, DROP)],
            state_operations=[
                migrations.AddConstraint(
                    "account",
                    models.UniqueConstraint(
                        fields=("owner", "idempotency_key"), name="account_is_created_once_per_key"
                    ),
                )
            ],
        )
    ]
