"""AWS Secrets Manager: one secret, a JSON object of strings, read when the process starts and held in its memory.

Held on the module, so that gunicorn's workers inherit by their fork what the arbiter read. An outage later on changes
nothing: what is held stays good. boto3 is imported only where a secret is named.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

CONNECT_TIMEOUT_S: Final = 1
READ_TIMEOUT_S: Final = 2
TRIES: Final = 3
# All tries with the pauses between them, at boot and while requests wait: a platform sees a reason within 10 s.
BOOT_DEADLINE_S: Final = 7.5
SERVING_DEADLINE_S: Final = 3.0
# While nothing new is there, AWS is asked no more often than this.
PAUSE_S: Final = 0.5
# A server that has just read it to see whether it can start need not read it again to start.
RELOAD_PAUSE_S: Final = 2.0

AWS_ERROR_REASONS: Final[Mapping[str, str]] = {
    "ResourceNotFoundException": "names no secret in this region and account, or one without a current version",
    "AccessDeniedException": "names a secret that this role may not read (it needs secretsmanager:GetSecretValue)",
    "InvalidRequestException": "names a secret that cannot be read: it is marked for deletion",
    "DecryptionFailure": "names a secret that this role may not decrypt (it needs kms:Decrypt)",
}

logger = logging.getLogger(__name__)


class SecretError(Exception):
    """The secret cannot be had; the text goes on after the key's name and holds nothing of the secret."""


@dataclass
class _Held:
    """What this process knows of its secret: the last good reading, or why there is none."""

    secret: Mapping[str, str] | None = None
    error: SecretError | None = None
    tried_at: float = -PAUSE_S
    lock: threading.Lock = field(default_factory=threading.Lock)


_held = _Held()


def held(secret_id: str, region: str) -> Mapping[str, str]:
    """Return the secret, read once in a process and its forks; a failure is not tried again either."""
    with _held.lock:
        if _held.secret is None and _held.error is None:
            _read(secret_id, region, BOOT_DEADLINE_S)
        if _held.secret is None:
            raise _held.error or SecretError("was not read")
        return _held.secret


def read_again(secret_id: str, region: str, *, pause_s: float = PAUSE_S) -> Mapping[str, str]:
    """Return the secret as it is now; what is held, if AWS has no better answer or was asked `pause_s` ago or less.

    All who ask at once share one reading.
    """
    with _held.lock:
        if time.monotonic() - _held.tried_at >= pause_s:
            _read(secret_id, region, SERVING_DEADLINE_S)
            if _held.error is not None:
                logger.warning("The secret was not read again: APP_SECRETS_ID %s.", _held.error)
        if _held.secret is None:
            raise _held.error or SecretError("was not read")
        return _held.secret


def peek() -> Mapping[str, str] | None:
    """Return what is held, without asking anybody."""
    return _held.secret


def hold(secret: Mapping[str, str] | None) -> None:
    """Put a secret in the place of what is held; None forgets it."""
    with _held.lock:
        _held.secret, _held.error, _held.tried_at = secret, None, -PAUSE_S


def _read(secret_id: str, region: str, deadline_s: float) -> None:
    try:
        _held.secret, _held.error = fetch(secret_id, region, deadline_s), None
    except SecretError as error:
        _held.error = error
    _held.tried_at = time.monotonic()


def fetch(secret_id: str, region: str, deadline_s: float = BOOT_DEADLINE_S) -> dict[str, str]:
    """Ask AWS for the secret, or raise `SecretError` before the deadline is much over."""
    # Half a second of importing that nobody pays who has no secret.
    from boto3.session import Session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError  # noqa: PLC0415

    def ask() -> Any:
        client = Session().client(
            "secretsmanager",
            # An ARN knows its region.
            region_name=region or (secret_id.split(":")[3] if secret_id.startswith("arn:") else None),
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"total_max_attempts": TRIES, "mode": "standard"},
            ),
        )
        return client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")

    try:
        answer = _within(deadline_s, ask)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise SecretError(AWS_ERROR_REASONS.get(code, f"could not be read: AWS answers {code}")) from None
    except NoRegionError:
        raise SecretError("needs AWS_REGION") from None
    except NoCredentialsError:
        raise SecretError("could not be read: there are no AWS credentials") from None
    # Some of boto's complaints about what it was given are ValueErrors.
    except (BotoCoreError, TimeoutError, ValueError, IndexError) as error:
        raise SecretError(f"could not be read: Secrets Manager gave no answer ({type(error).__name__})") from None
    return parse(answer.get("SecretString"))


def parse(document: str | None) -> dict[str, str]:
    """Return what the secret holds; raise `SecretError` unless it is a JSON object of strings."""
    if document is None:
        raise SecretError("names a binary secret: it must be a JSON object of strings")
    try:
        found = json.loads(document)
    # A document that nests deeper than Python does is no better than one that does not end.
    except (ValueError, RecursionError):
        raise SecretError("names a secret that is not JSON") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SecretError("names a secret that is not a JSON object of strings")
    return found


def _within(deadline_s: float, call: Callable[[], Any]) -> Any:
    """Return what `call` returns, or raise `TimeoutError`: boto bounds each try, and not their sum."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        # Whatever it is, it belongs to whoever waits.
        except BaseException as error:  # noqa: BLE001
            outcome.set_exception(error)

    threading.Thread(target=run, name="secrets-manager", daemon=True).start()
    return outcome.result(deadline_s)
