"""AWS Secrets Manager: one secret, a JSON object of strings, read when the process starts and cached in its memory.

The cache is on the module, so that gunicorn's workers inherit it by their fork. A later outage of AWS changes nothing: the
cached secret stays in use. boto3 is imported only if a secret is configured.

Raises: SecretError.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

CONNECT_TIMEOUT_S: Final = 1
READ_TIMEOUT_S: Final = 2
TRIES: Final = 3
# For all tries and the pauses between them, at boot and while requests wait. A platform has the reason within 10 s.
BOOT_DEADLINE_S: Final = 7.5
SERVING_DEADLINE_S: Final = 3.0
# The least time between two calls of AWS.
PAUSE_S: Final = 0.5

AWS_ERROR_REASONS: Final[Mapping[str, str]] = {
    "ResourceNotFoundException": "names no secret in this region and account, or one without a current version",
    "AccessDeniedException": "names a secret that this role may not read (it needs secretsmanager:GetSecretValue)",
    "InvalidRequestException": "names a secret that cannot be read: it is marked for deletion",
    "DecryptionFailure": "names a secret that this role may not decrypt (it needs kms:Decrypt)",
}

logger = logging.getLogger(__name__)


class SecretError(Exception):
    """The secret cannot be read. The text completes "APP_SECRETS_ID …" and contains nothing of the secret."""


@dataclass
class _Cache:
    """The last secret that was read, the last try's error if it failed, and when it was."""

    secret: Mapping[str, str] | None = None
    error: SecretError | None = None
    tried_at: float = -math.inf
    lock: threading.Lock = field(default_factory=threading.Lock)


_cache = _Cache()


def get_cached(secret_id: str, region: str) -> Mapping[str, str]:
    """Return the secret, read once in a process and its forks; a failure is cached, too."""
    return _get(secret_id, region, BOOT_DEADLINE_S, pause_s=math.inf)


def refresh(secret_id: str, region: str, *, pause_s: float = PAUSE_S) -> Mapping[str, str]:
    """As `get_cached`, read again unless the last try is under `pause_s` old; the cached one stays if that fails."""
    return _get(secret_id, region, SERVING_DEADLINE_S, pause_s)


def _get(secret_id: str, region: str, deadline_s: float, pause_s: float) -> Mapping[str, str]:
    """Return the secret, after a try to read it if the last is `pause_s` old. Concurrent callers share one."""
    with _cache.lock:
        if time.monotonic() - _cache.tried_at >= pause_s:
            try:
                _cache.secret, _cache.error = fetch(secret_id, region, deadline_s), None
            except SecretError as error:
                _cache.error = error
                if _cache.secret is not None:
                    logger.warning("The secret was not read again: APP_SECRETS_ID %s.", error)
            _cache.tried_at = time.monotonic()
        if _cache.secret is None:
            raise _cache.error or SecretError("was not read")
        return _cache.secret


def cached_or_none() -> Mapping[str, str] | None:
    """Return the cached secret without a call of AWS."""
    return _cache.secret


def set_cached(secret: Mapping[str, str] | None) -> None:
    """Replace the cached secret, which the next `refresh` reads again; None clears it."""
    with _cache.lock:
        _cache.secret, _cache.error, _cache.tried_at = secret, None, -math.inf if secret is None else -PAUSE_S


def fetch(secret_id: str, region: str, deadline_s: float = BOOT_DEADLINE_S) -> dict[str, str]:
    """Read the secret from AWS, or raise `SecretError` shortly after the deadline at the latest."""
    # Importing them takes half a second, which only deployments with a secret spend.
    from boto3.session import Session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError  # noqa: PLC0415

    def get_secret_value() -> Any:
        client = Session().client(
            "secretsmanager",
            # An ARN contains its region.
            region_name=region or (secret_id.split(":")[3] if secret_id.startswith("arn:") else None),
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"total_max_attempts": TRIES, "mode": "standard"},
            ),
        )
        return client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")

    try:
        answer = _within(deadline_s, get_secret_value)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise SecretError(AWS_ERROR_REASONS.get(code, f"could not be read: AWS answers {code}")) from None
    except NoRegionError:
        raise SecretError("needs AWS_REGION") from None
    except NoCredentialsError:
        raise SecretError("could not be read: there are no AWS credentials") from None
    # boto3 raises ValueError for some invalid arguments.
    except (BotoCoreError, TimeoutError, ValueError, IndexError) as error:
        raise SecretError(f"could not be read: Secrets Manager gave no answer ({type(error).__name__})") from None
    return parse(answer.get("SecretString"))


def parse(document: str | None) -> dict[str, str]:
    """Return the secret's keys and values; raise `SecretError` unless it is a JSON object of strings."""
    if document is None:
        raise SecretError("names a binary secret: it must be a JSON object of strings")
    try:
        found = json.loads(document)
    # A deeply nested document raises RecursionError.
    except (ValueError, RecursionError):
        raise SecretError("names a secret that is not JSON") from None
    if isinstance(found, dict) and {"username", "password"} <= found.keys():
        raise SecretError(
            "names a secret as RDS's rotation writes it: put DATABASE_URL there (docs/runbook.md, Secrets)"
        )
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SecretError('names a secret that is not a JSON object of strings: write a number as "8000"')
    return found


def _within(deadline_s: float, call: Callable[[], Any]) -> Any:
    """Return what `call` returns, or raise `TimeoutError`. boto3 has a time limit for each try, not for all of them."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        # Raised again in the thread that waits for the result.
        except BaseException as error:  # noqa: BLE001
            outcome.set_exception(error)

    threading.Thread(target=run, name="secrets-manager", daemon=True).start()
    return outcome.result(deadline_s)
