"""Spares requests the wait for a helper that is not there; none of what matters may depend on that helper."""

import logging
import threading
import time


class CircuitBreaker:
    """After an error, one request in every pause finds out whether the helper answers again; the others pass it by.

    broken and healed: what the logger says when that is news.
    """

    def __init__(self, pause_s: float, *, logger: logging.Logger, broken: str, healed: str) -> None:
        self.pause_s = pause_s
        self._logger, self._broken, self._healed = logger, broken, healed
        self._is_open = False
        self._try_again_at = 0.0
        self._healed_from = 0.0
        self._lock = threading.Lock()

    def allows_request(self) -> bool:
        """Tell whether to ask."""
        if not self._is_open:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._try_again_at:
                return False
            self._try_again_at = now + self.pause_s
            return True

    def record_failure(self, error: Exception) -> None:
        """Note that it failed; say so if it is news."""
        with self._lock:
            was_open, self._is_open = self._is_open, True
            self._try_again_at = self._healed_from = time.monotonic() + self.pause_s
        if not was_open:
            self._logger.warning("%s: %s: %s", self._broken, type(error).__name__, error)

    def record_success(self) -> None:
        """Note that it answered; say so if it is news."""
        if not self._is_open:
            return
        with self._lock:
            # An answer from before the pause was on its way when another one failed.
            if time.monotonic() < self._healed_from:
                return
            was_open, self._is_open = self._is_open, False
        if was_open:
            self._logger.info(self._healed)
