"""Triggers that delete a user's tokens when the user is deactivated or the password changes.

In the database, so that they hold for the API, the admin, a shell and SQL alike. A rehash at login is no change of the
password: `User.check_password` sets `users.rehashed_password` to the hash that it writes, for its transaction.
"""

from django.db import migrations

CREATE_TRIGGERS = """
    CREATE FUNCTION users_kill_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM users_token WHERE user_id = NEW.id;
        RETURN NULL;
    END
    $$;

    CREATE TRIGGER users_deactivation_kills_tokens AFTER UPDATE OF is_active ON users_user
        FOR EACH ROW WHEN (OLD.is_active AND NOT NEW.is_active) EXECUTE FUNCTION users_kill_tokens();

    CREATE TRIGGER users_password_change_kills_tokens AFTER UPDATE OF password ON users_user FOR EACH ROW
        WHEN (OLD.password IS DISTINCT FROM NEW.password
              AND NEW.password IS DISTINCT FROM nullif(current_setting('users.rehashed_password', true), ''))
        EXECUTE FUNCTION users_kill_tokens();
"""
DROP_TRIGGERS = """
    DROP TRIGGER users_password_change_kills_tokens ON users_user;
    DROP TRIGGER users_deactivation_kills_tokens ON users_user;
    DROP FUNCTION users_kill_tokens();
"""


class Migration(migrations.Migration):
    dependencies = [("users", "0001_initial")]

    operations = [migrations.RunSQL(CREATE_TRIGGERS, DROP_TRIGGERS)]
