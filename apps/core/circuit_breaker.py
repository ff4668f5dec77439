"""Circuit breaker: requests skip an optional service (a cache, a queue) while it fails, instead of waiting for it."""

import logging
import threading
import time


class CircuitBreaker:
    """After a failure one request per `pause_s` tries the service again; the others skip it.

    broken, healed: the log messages for a change of state.
    Units: `pause_s` in seconds.
    """

    def __init__(self, pause_s: float, *, logger: logging.Logger, broken: str, healed: str) -> None:
        self.pause_s = pause_s
        self._logger, self._broken, self._healed = logger, broken, healed
        self._is_open = False
        self._try_again_at = 0.0
        self._healed_from = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the service failed and has not answered since."""
        return self._is_open

    def allows_request(self) -> bool:
        """Return whether this request may call the service."""
        if not self._is_open:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._try_again_at:
                return False
            self._try_again_at = now + self.pause_s
            return True

    def record_failure(self, error: Exception) -> None:
        """Open the circuit for `pause_s`; log the error if it was closed."""
        with self._lock:
            was_open, self._is_open = self._is_open, True
            self._try_again_at = self._healed_from = time.monotonic() + self.pause_s
        if not was_open:
            self._logger.warning("%s: %s: %s", self._broken, type(error).__name__, error)

    def record_success(self) -> None:
        """Close the circuit; log it if it was open."""
        if not self._is_open:
            return
        with self._lock:
            # This call began before the failure of another one, so it shows nothing about the service now.
            if time.monotonic() < self._healed_from:
                return
            was_open, self._is_open = self._is_open, False
        if was_open:
            self._logger.info(self._healed)
