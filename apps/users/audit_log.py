"""Audit log of logins, password changes and token revocations.

Events: `login ...` and `password change ...` with `succeeded`, `failed` or `limited` (`apps.users.login_attempts`), and
`token revoked`. Each line has the request's id, and the user's where it is known; none has what was typed.
"""

import logging
from uuid import UUID

logger = logging.getLogger(__name__)


def log_token_revoked(user_id: UUID) -> None:
    """Log that a user has revoked one of their tokens."""
    logger.info("token revoked", extra={"user_id": user_id})
