"""Token authentication by the Authorization header."""

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from apps.users.models import Token, User


class ExpiringTokenAuthentication(TokenAuthentication):
    """DRF's `Authorization: Token <key>` with digests, expiry and several tokens per user. One SQL statement."""

    model = Token

    def authenticate_credentials(self, key: str) -> tuple[User, Token]:
        try:
            token = Token.objects.live(timezone.now()).with_key(key).select_related("user").get()
        except Token.DoesNotExist:
            raise AuthenticationFailed from None
        return token.user, token


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its metaclass has no annotations
    """The security scheme of the OpenAPI schema."""

    target_class = ExpiringTokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`Token <key>`"}
