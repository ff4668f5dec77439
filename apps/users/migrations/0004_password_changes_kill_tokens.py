"""A change of the password ends a user's tokens, by whatever road it comes: the API, the admin, a shell, SQL.

A rehash at login is none: `User.check_password` names the hash that it writes, for its transaction.
"""

from django.db import migrations

# new-code-needs-this: it leaves the ending of tokens to the database; the deployment migrates first, /readyz/ is 503 until then
# squawk-ignore renaming-object: only the trigger of 0002 calls the function, which it knows by its id
KILL_TOKENS = """
    ALTER FUNCTION users_kill_tokens_of_deactivated() RENAME TO users_kill_tokens;

    CREATE TRIGGER users_password_change_kills_tokens AFTER UPDATE OF password ON users_user FOR EACH ROW
        WHEN (OLD.password IS DISTINCT FROM NEW.password
              AND NEW.password IS DISTINCT FROM nullif(current_setting('users.rehashed_password', true), ''))
        EXECUTE FUNCTION users_kill_tokens();

    DELETE FROM users_token USING users_user
    WHERE users_user.id = users_token.user_id AND users_token.created_at < users_user.password_changed_at;
"""
LET_THEM_LIVE = """
    DROP TRIGGER users_password_change_kills_tokens ON users_user;
    ALTER FUNCTION users_kill_tokens() RENAME TO users_kill_tokens_of_deactivated;
"""


class Migration(migrations.Migration):
    dependencies = [("users", "0003_loginfailures_reserved")]

    operations = [migrations.RunSQL(KILL_TOKENS, LET_THEM_LIVE)]
