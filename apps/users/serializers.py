"""The shapes of requests and answers about users."""

from typing import Any

from django.contrib.auth.validators import UnicodeUsernameValidator
from rest_framework import serializers

from apps.core.fields import StrictSerializer, TextField
from apps.users.models import User

PASSWORD: dict[str, Any] = {"style": {"input_type": "password"}, "trim_whitespace": False, "max_length": 128}


class LogInInput(StrictSerializer):
    """A user's credentials, as JSON or as a form."""

    username = TextField(max_length=150)
    password = TextField(**PASSWORD)


class TokenOutput(serializers.Serializer[Any]):
    """A token; it is shown this once."""

    token = serializers.CharField(source="key")
    expires_at = serializers.DateTimeField()


class RegisterUserInput(StrictSerializer):
    """Who wants to sign up."""

    username = TextField(max_length=150, validators=[UnicodeUsernameValidator()])
    password = TextField(**PASSWORD)
    email = serializers.EmailField(required=False, default="", allow_blank=True, max_length=254)

    def validate_username(self, username: str) -> str:
        return User.normalize_username(username)


class ChangePasswordInput(StrictSerializer):
    """The old password and the new one."""

    current_password = TextField(**PASSWORD)
    new_password = TextField(**PASSWORD)


class UserOutput(serializers.ModelSerializer[User]):
    """A user, to that user."""

    class Meta:
        model = User
        fields = ("id", "username", "email")
