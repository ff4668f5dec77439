"""Append-only entries by a trigger, and storage settings for accounts, which are updated often.

Plain SQL and not django-pgtrigger: its triggers do nothing in a session that sets `pgtrigger.ignore`, which any role may
set, so they could not prove that no entry was changed. Its errors have no SQLSTATE of class 23, which Django raises as
IntegrityError, and it replaces the backend's schema editor.
"""

from django.db import migrations

REFUSE_CHANGES = """
    CREATE FUNCTION ledger_refuse_change_of_entry() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'an entry is never changed or deleted: post a reversal'
            USING ERRCODE = 'integrity_constraint_violation';
    END
    $$;

    CREATE TRIGGER ledger_entry_is_append_only BEFORE UPDATE OR DELETE ON ledger_entry
        FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change_of_entry();
"""
ALLOW_CHANGES = """
    DROP TRIGGER ledger_entry_is_append_only ON ledger_entry;
    DROP FUNCTION ledger_refuse_change_of_entry();
"""

# Room on each page keeps a balance's next version beside the last (a HOT update), and vacuum comes early.
LEAVE_ROOM = "ALTER TABLE ledger_account SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)"
LEAVE_NONE = "ALTER TABLE ledger_account RESET (fillfactor, autovacuum_vacuum_scale_factor)"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]

    operations = [
        migrations.RunSQL(REFUSE_CHANGES, ALLOW_CHANGES),
        migrations.RunSQL(LEAVE_ROOM, LEAVE_NONE),
    ]
