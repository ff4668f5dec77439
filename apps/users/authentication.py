"""Token authentication by the Authorization header."""

from typing import Final

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from apps.database import prepared
from apps.users.models import Token, User, digest_of

TOKEN_FIELDS, USER_FIELDS = Token._meta.concrete_fields, User._meta.concrete_fields
_TOKEN_NAMES, _USER_NAMES = ([field.attname for field in fields] for fields in (TOKEN_FIELDS, USER_FIELDS))
_columns = [f"{field.model._meta.db_table}.{field.column}" for field in (*TOKEN_FIELDS, *USER_FIELDS)]
# What `TokenQuerySet.live` and `with_key` find, as one text: every request sends it first, so it is the connection's health
# check as well (apps.database.prepared).
LIVE_TOKEN: Final = f"""
SELECT {", ".join(_columns)}
FROM users_token JOIN users_user ON users_user.id = users_token.user_id
WHERE users_token.digest = %s AND users_token.expires_at > %s AND users_user.is_active
"""  # noqa: S608  the names of our own columns


class ExpiringTokenAuthentication(TokenAuthentication):
    """DRF's `Authorization: Token <key>` with digests, expiry and several tokens per user. One SQL statement."""

    model = Token

    def authenticate_credentials(self, key: str) -> tuple[User, Token]:
        rows = prepared.query(LIVE_TOKEN, (digest_of(key), timezone.now()))
        if not rows:
            raise AuthenticationFailed
        ((*row,),) = rows
        user = User.from_db(DEFAULT_DB_ALIAS, _USER_NAMES, row[len(TOKEN_FIELDS) :])
        token = Token.from_db(DEFAULT_DB_ALIAS, _TOKEN_NAMES, row[: len(TOKEN_FIELDS)])
        token.user = user
        return user, token


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its metaclass has no annotations
    """The security scheme of the OpenAPI schema."""

    target_class = ExpiringTokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`Token <key>`"}
