"""Operations of users: login, sign-up, password."""

from apps.users.models import LoginFailures, User
from tests.factories import PASSWORD, UserFactory
from tests.support.operations import AppOperations, BadValues, Endpoint, Operation

# Eighteen letters in Unicode's compatible form, four of them spaces.
LIGATURE = "\ufdfa"

USERNAMES = [
    "a b", "a/b", "", "  ", LIGATURE, LIGATURE * 150, "\u0149" * 100, "\ufb03" * 60, "ada", "\uff41\uff44\uff41",
]  # fmt: skip  # a table: many short values to a line
PASSWORDS = ["short", "password1234", "1" * 20, "eve@example.org"]
EMAILS = [
    "nowhere", "a@b", "a b@example.org", "a@\ud800.org", "a@exa\x00mple.org", '"a\x00"@example.org',
    "a@example.org\r\nBcc: b@example.org", "x" * 250 + "@example.org",
]  # fmt: skip  # a table: many short values to a line


def add_user(owner: User) -> None:
    UserFactory()


APP = AppOperations(
    access="""
          owner other anonymous revoked expired deactivated staff session
token     POST     200   200   200       200     200     200         200   200
token     DELETE   204   204   401       401     401     401         204   401
users     POST     201   201   201       201     201     201         201   201
me        GET      200   200   401       401     401     401         200   401
password  POST     204   204   401       401     401     401         204   401
""",
    endpoints={
        "log-in": Endpoint(
            "/api/token/",
            {"username": "ada", "password": PASSWORD},
            who=None,
            takes_forms=True,
            text_fields={"username": 150, "password": 128},
        ),
        "sign-up": Endpoint(
            "/api/v1/users/",
            {"username": "eve", "password": PASSWORD, "email": "eve@example.org"},
            who=None,
            text_fields={"username": 150, "password": 128, "email": 254},
            bad_values=[
                BadValues("username", USERNAMES, several=True),
                BadValues("password", PASSWORDS),
                BadValues("email", EMAILS),
            ],
        ),
        "password": Endpoint(
            "/api/v1/users/me/password/",
            {"current_password": PASSWORD, "new_password": PASSWORD + "!"},
            text_fields={"current_password": 128, "new_password": 128},
        ),
    },
    operations={
        "token_create": Operation(7, endpoint="log-in", refusals=frozenset({"invalid_credentials"})),
        "token_revoke": Operation(1, "DELETE", "/api/token/", kills_token=True),
        "user_register": Operation(2, endpoint="sign-up", refusals=frozenset({"unique", "weak_password"})),
        "user_me": Operation(0, "GET", "/api/v1/users/me/", is_prepared=True),
        "user_change_password": Operation(
            4,
            endpoint="password",
            kills_token=True,
            refusals=frozenset({"invalid_credentials", "weak_password"}),
        ),
    },
    add_rows=add_user,
    tables_of_failures=[LoginFailures._meta.db_table],
)
