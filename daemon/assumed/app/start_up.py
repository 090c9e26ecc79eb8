"""The start of the daemon while its configuration is not there yet, or cannot be read.

At boot a home directory may be mounted late, and a network file system may fail once. A service
that gives up then stays dead: nothing starts it again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from assumed import paths
from assumed.clock import Clock
from assumed.errors import (
    AssumedError,
    ConfigurationMissingError,
    ConfigurationUnavailableError,
    LocalFaultError,
)
from assumed.logs import event
from assumed.platform.base import Notifier

_FIRST_STEP_SECONDS = 1.0
_MAX_STEP_SECONDS = 60.0
# The unit is ready then, as if a first refresh took too long: its start must not time out.
_READY_AFTER_SECONDS = 20.0
_KEEP_ALIVE_SECONDS = 5.0

CreatedT = TypeVar("CreatedT")


class StartUp:
    """Creates the daemon as soon as its configuration and the AWS files can be read.

    Args:
        notifier: the service manager.
        clock: the source of time.
        is_named: whether the user has named the configuration.
        wait: waits this many seconds, or until a signal arrives, and returns whether one has.
    """

    def __init__(
        self,
        notifier: Notifier,
        clock: Clock,
        *,
        is_named: bool,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._notifier = notifier
        self._clock = clock
        self._is_named = is_named
        self._wake_up = threading.Event()
        self._wait = wait or self._wake_up.wait
        self._is_stopped = False

    def create(self, create: Callable[[], CreatedT]) -> CreatedT | None:
        """Return what `create` returns; None if a signal stops the wait for the configuration.

        SIGHUP ends a pause.

        Raises:
            AssumedError: from `create`, if waiting does not help.
        """
        began_at, step, reported = self._clock.boottime(), _FIRST_STEP_SECONDS, ""
        while True:
            try:
                return create()
            except (
                ConfigurationMissingError,
                ConfigurationUnavailableError,
                LocalFaultError,
            ) as error:
                if not self._is_worth_waiting(error):
                    raise
                # `create` may have set handlers that belong to what it could not finish.
                self._handle_signals()
                if error.message != reported:
                    self._report(error)
                    reported = error.message
            if not self._pause(step, ready_at=began_at + _READY_AFTER_SECONDS):
                return None
            step = min(2 * step, _MAX_STEP_SECONDS)

    def _is_worth_waiting(self, error: AssumedError) -> bool:
        """Whether the configuration may appear without the user who reads the error."""
        is_passing = not isinstance(error, ConfigurationMissingError) and not isinstance(
            error.__cause__, PermissionError
        )
        if is_passing or self._notifier.is_enabled or not _has_home():
            return True
        return self._is_named and not sys.stderr.isatty()

    def _report(self, error: AssumedError) -> None:
        event(
            logging.WARNING,
            "start_delayed",
            error_code=error.code,
            error=error.message,
            hint=f"{error.hint}; the daemon starts as soon as it can be read",
        )
        self._notifier.status(f"waiting: {error.message.splitlines()[0]}")

    def _pause(self, seconds: float, *, ready_at: float) -> bool:
        """Wait; return False if a signal has asked to stop."""
        until = self._clock.boottime() + seconds
        while not self._is_stopped and (left := until - self._clock.boottime()) > 0:
            if self._clock.boottime() >= ready_at:
                self._notifier.ready()
                self._notifier.keep_alive()
            if self._wait(min(left, _KEEP_ALIVE_SECONDS)):
                self._wake_up.clear()
                break
        return not self._is_stopped

    def _handle_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, lambda *_: self._wake_up.set())

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopped = True
        self._wake_up.set()


def _has_home() -> bool:
    return os.path.isdir(paths.home_directory())  # noqa: PTH112 - Path.is_dir raises on a fault
