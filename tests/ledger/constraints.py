"""The constraints of the ledger's tables, taken away in a test's transaction."""

from typing import Literal


def drop_constraints(kind: Literal["check", "foreign key"]) -> str:
    """Return the statement that drops all of a kind."""
    return f"""
        DO $$ DECLARE of record; BEGIN
            FOR of IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint
                      WHERE contype = '{kind[0]}' AND conrelid::regclass::text LIKE 'ledger_%' LOOP
                EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', of.owner, of.conname);
            END LOOP;
        END $$
    """
