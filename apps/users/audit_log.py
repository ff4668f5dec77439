"""What happens at the channel, as lines of the log for whoever watches it: who came in, who did not, what was taken back.

A line has the id of its request, and the user's where it is known; what was typed is in none.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from apps.users.errors import InvalidCredentials, TooManyLoginFailures

logger = logging.getLogger(__name__)


@dataclass
class Attempt:
    """Somebody tries a password; `user_id` is known once it was right, or once a token has said who it is."""

    user_id: UUID | None = None


@contextmanager
def log_attempt(what: str, *, channel: str, user_id: UUID | None = None) -> Iterator[Attempt]:
    """Say how the attempt inside ends: succeeded, failed or limited; what else stops it is no matter of passwords.

    what: "login" or "password change". channel: "api" or "admin".
    """
    attempt = Attempt(user_id)
    try:
        yield attempt
    except InvalidCredentials:
        logger.warning("%s failed", what, extra=_told(attempt, channel))
        raise
    except TooManyLoginFailures:
        logger.warning("%s limited", what, extra=_told(attempt, channel))
        raise
    logger.info("%s succeeded", what, extra=_told(attempt, channel))


def log_token_revoked(user_id: UUID) -> None:
    """Say that a user has ended one of his tokens."""
    logger.info("token revoked", extra={"user_id": user_id})


def _told(attempt: Attempt, channel: str) -> dict[str, str | UUID | None]:
    return {"user_id": attempt.user_id, "channel": channel}
