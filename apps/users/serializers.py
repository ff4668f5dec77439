"""Serializers of requests and responses about users."""

import re
from typing import Any, Final

from django.contrib.auth.validators import UnicodeUsernameValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.fields import StrictSerializer, TextField
from apps.users.models import User
from apps.users.passwords import MAX_PASSWORD_LENGTH

# UnicodeUsernameValidator's. Where a validator's `\w` is ASCII, as in ECMAScript, it allows fewer names than the field does.
USERNAME_PATTERN: Final = r"^[\w.@+-]+$"
EMAIL_PATTERN: Final = (
    r"^[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+(\.[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.)+([A-Za-z]{2,63}|[Xx][Nn]--[0-9A-Za-z]{1,59})$"
)
MAX_EMAIL_LENGTH: Final = 254
MAX_EMAIL_LOCAL_PART_LENGTH: Final = 64
# The part of `canonicalize` that a schema can express.
PASSWORD_OPTIONS: dict[str, Any] = {
    "style": {"input_type": "password"},
    "trim_whitespace": False,
    "max_length": MAX_PASSWORD_LENGTH,
}


class UsernameField(TextField):
    """A user name as it is stored: normalised to NFKC, and then at most 150 characters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=150, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return User.normalize_username(super().to_internal_value(data))


@extend_schema_field(
    {
        "type": "string",
        "pattern": USERNAME_PATTERN,
        "minLength": 1,
        "maxLength": 150,
        "description": "Letters and digits of any script, and . @ + - _.",
    }
)
class NewUsernameField(UsernameField):
    """The user name of a new user, under the rule of Django's model."""

    def __init__(self) -> None:
        super().__init__(validators=[UnicodeUsernameValidator()])


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "format": "email", "pattern": EMAIL_PATTERN, "maxLength": MAX_EMAIL_LENGTH},
            {"type": "string", "maxLength": 0},
        ],
        "default": "",
    }
)
class EmailField(serializers.EmailField):
    """An ASCII e-mail address or an empty string: exactly the schema's `format: email` (RFC 5321 §4.1.2)."""

    def __init__(self) -> None:
        super().__init__(
            required=False, default="", allow_blank=True, max_length=MAX_EMAIL_LENGTH, trim_whitespace=False
        )

    def to_internal_value(self, data: Any) -> str:
        if (
            not isinstance(data, str)
            or not re.fullmatch(EMAIL_PATTERN, data)
            or data.index("@") > MAX_EMAIL_LOCAL_PART_LENGTH
        ):
            self.fail("invalid")
        return super().to_internal_value(data)


class LogInInput(StrictSerializer):
    """A user's credentials, as JSON or as a form."""

    username = UsernameField()
    password = TextField(**PASSWORD_OPTIONS)


class TokenOutput(serializers.Serializer[Any]):
    """A new token. It is returned only once."""

    token = serializers.CharField(source="key")
    expires_at = serializers.DateTimeField()


class RegisterUserInput(StrictSerializer):
    """A sign-up."""

    username = NewUsernameField()
    password = TextField(**PASSWORD_OPTIONS)
    email = EmailField()


class ChangePasswordInput(StrictSerializer):
    """The old password and the new one."""

    current_password = TextField(**PASSWORD_OPTIONS)
    new_password = TextField(**PASSWORD_OPTIONS)


class UserOutput(serializers.ModelSerializer[User]):
    """The caller's own user."""

    # Without the model's validator, whose pattern is for new user names.
    username = serializers.CharField()

    class Meta:
        model = User
        fields = ("id", "username", "email")
