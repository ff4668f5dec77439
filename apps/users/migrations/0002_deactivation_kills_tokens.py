"""Deactivation ends a user's tokens for good, by whatever road it comes: the admin, a shell, SQL."""

from django.db import migrations

KILL_TOKENS = """
    CREATE FUNCTION users_kill_tokens_of_deactivated() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM users_token WHERE user_id = NEW.id;
        RETURN NULL;
    END
    $$;

    CREATE TRIGGER users_deactivation_kills_tokens AFTER UPDATE OF is_active ON users_user
        FOR EACH ROW WHEN (OLD.is_active AND NOT NEW.is_active) EXECUTE FUNCTION users_kill_tokens_of_deactivated();

    DELETE FROM users_token USING users_user WHERE users_user.id = users_token.user_id AND NOT users_user.is_active;
"""
LET_THEM_SLEEP = """
    DROP TRIGGER users_deactivation_kills_tokens ON users_user;
    DROP FUNCTION users_kill_tokens_of_deactivated();
"""


class Migration(migrations.Migration):
    dependencies = [("users", "0001_initial")]

    operations = [migrations.RunSQL(KILL_TOKENS, LET_THEM_SLEEP)]
