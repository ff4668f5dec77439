"""The shapes of requests and answers about users."""

from typing import Any

from django.contrib.auth.validators import UnicodeUsernameValidator
from rest_framework import serializers

from apps.core.fields import StrictSerializer, TextField
from apps.users.models import User
from apps.users.passwords import MAX_LENGTH

# What `canonical` refuses, as far as a schema can say it.
PASSWORD: dict[str, Any] = {"style": {"input_type": "password"}, "trim_whitespace": False, "max_length": MAX_LENGTH}


class UsernameField(TextField):
    """A user name as it is stored: in Unicode's compatible composed form (NFKC), at most 150 characters then."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=150, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return User.normalize_username(super().to_internal_value(data))


class LogInInput(StrictSerializer):
    """A user's credentials, as JSON or as a form."""

    username = UsernameField()
    password = TextField(**PASSWORD)


class TokenOutput(serializers.Serializer[Any]):
    """A token; it is shown this once."""

    token = serializers.CharField(source="key")
    expires_at = serializers.DateTimeField()


class RegisterUserInput(StrictSerializer):
    """Who wants to sign up."""

    username = UsernameField(validators=[UnicodeUsernameValidator()])
    password = TextField(**PASSWORD)
    email = serializers.EmailField(required=False, default="", allow_blank=True, max_length=254)


class ChangePasswordInput(StrictSerializer):
    """The old password and the new one."""

    current_password = TextField(**PASSWORD)
    new_password = TextField(**PASSWORD)


class UserOutput(serializers.ModelSerializer[User]):
    """A user, to that user."""

    class Meta:
        model = User
        fields = ("id", "username", "email")
