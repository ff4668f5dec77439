"""The shapes of requests and answers about users."""

import re
from typing import Any, Final

from django.contrib.auth.validators import UnicodeUsernameValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.fields import StrictSerializer, TextField
from apps.users.models import User
from apps.users.passwords import MAX_LENGTH

# In ASCII what UnicodeUsernameValidator takes; JSON Schema has no word for the letters of all scripts.
NO_OTHER_ASCII: Final = r"^[^\x00-\x2A\x2C\x2F\x3A-\x3F\x5B-\x5E\x60\x7B-\x9F]+$"
EMAIL: Final = (
    r"^[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+(\.[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.)+([A-Za-z]{2,63}|[Xx][Nn]--[0-9A-Za-z]{1,59})$"
)
MAX_EMAIL: Final = 254
MAX_EMAIL_LOCAL: Final = 64
# What `canonical` refuses, as far as a schema can say it.
PASSWORD: dict[str, Any] = {"style": {"input_type": "password"}, "trim_whitespace": False, "max_length": MAX_LENGTH}


class UsernameField(TextField):
    """A user name as it is stored: in Unicode's compatible composed form (NFKC), at most 150 characters then."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=150, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return User.normalize_username(super().to_internal_value(data))


@extend_schema_field(
    {
        "type": "string",
        "pattern": NO_OTHER_ASCII,
        "minLength": 1,
        "maxLength": 150,
        "description": "Letters and digits of any script, and . @ + - _.",
    }
)
class NewUsernameField(UsernameField):
    """A user name that somebody chooses, by the rule of Django's model."""

    def __init__(self) -> None:
        super().__init__(validators=[UnicodeUsernameValidator()])


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "format": "email", "pattern": EMAIL, "maxLength": MAX_EMAIL},
            {"type": "string", "maxLength": 0},
        ],
        "default": "",
    }
)
class EmailField(serializers.EmailField):
    """An e-mail address in ASCII, or nothing: what is taken is what the schema's `format: email` means (RFC 5321 §4.1.2)."""

    def __init__(self) -> None:
        super().__init__(required=False, default="", allow_blank=True, max_length=MAX_EMAIL, trim_whitespace=False)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or not re.fullmatch(EMAIL, data) or data.index("@") > MAX_EMAIL_LOCAL:
            self.fail("invalid")
        return super().to_internal_value(data)


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

    username = NewUsernameField()
    password = TextField(**PASSWORD)
    email = EmailField()


class ChangePasswordInput(StrictSerializer):
    """The old password and the new one."""

    current_password = TextField(**PASSWORD)
    new_password = TextField(**PASSWORD)


class UserOutput(serializers.ModelSerializer[User]):
    """A user, to that user."""

    # Its rule is for whoever chooses one.
    username = serializers.CharField()

    class Meta:
        model = User
        fields = ("id", "username", "email")
