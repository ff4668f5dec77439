"""Views of tokens, sign-up and the caller's own user."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.errors import PermissionDenied
from apps.core.parsers import StrictFormParser, StrictJSONParser, StrictMultiPartParser
from apps.core.throttling import address_of
from apps.core.views import Endpoint
from apps.users.audit_log import log_token_revoked
from apps.users.errors import InvalidCredentials, TooManyLoginFailures
from apps.users.models import Token, User
from apps.users.serializers import ChangePasswordInput, LogInInput, RegisterUserInput, TokenOutput, UserOutput
from apps.users.use_cases.change_password import ChangePassword
from apps.users.use_cases.log_in import LogIn
from apps.users.use_cases.register_user import RegisterUser


class TokenView(Endpoint):
    """Log in and out."""

    parser_classes = (StrictJSONParser, StrictFormParser, StrictMultiPartParser)
    domain_errors = (InvalidCredentials, TooManyLoginFailures)

    def get_permissions(self) -> list[BasePermission]:
        return [AllowAny() if self.request.method == "POST" else IsAuthenticated()]

    @extend_schema(request=LogInInput, responses={200: TokenOutput}, operation_id="token_create")
    def post(self, request: Request) -> Response:
        """Exchange a user name and a password for a token, valid for ten hours by default."""
        issued = LogIn(**self.validated_body(LogInInput), address=address_of(request), now=timezone.now()).execute()
        return Response(TokenOutput(issued).data)

    @extend_schema(request=None, responses={204: None}, operation_id="token_revoke")
    def delete(self, request: Request) -> Response:
        """Revoke the token of this request."""
        Token.objects.filter(pk=request.auth.pk).delete()
        log_token_revoked(self.caller_id)
        return Response(status=204)


class UsersView(Endpoint):
    """Sign-up."""

    permission_classes = (AllowAny,)
    domain_errors = (PermissionDenied,)

    @extend_schema(request=RegisterUserInput, responses={201: UserOutput}, operation_id="user_register")
    def post(self, request: Request) -> Response:
        """Sign up; 403 if sign-up is closed."""
        user = RegisterUser(**self.validated_body(RegisterUserInput)).execute()
        return Response(UserOutput(user).data, status=201)


class MeView(Endpoint):
    """The caller's own user."""

    @extend_schema(responses={200: UserOutput}, operation_id="user_me")
    def get(self, request: Request) -> Response:
        """Return the caller's own user."""
        return Response(UserOutput(_user(request)).data)


class PasswordView(Endpoint):
    """The caller's own password."""

    domain_errors = (InvalidCredentials, TooManyLoginFailures)

    @extend_schema(request=ChangePasswordInput, responses={204: None}, operation_id="user_change_password")
    def post(self, request: Request) -> Response:
        """Change the password and revoke every token of the user."""
        body = self.validated_body(ChangePasswordInput)
        ChangePassword(user=_user(request), **body, address=address_of(request)).execute()
        return Response(status=204)


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # noqa: S101  IsAuthenticated ensures it; this narrows the type
    return request.user
