"""Reload of the configuration."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

from assumed.app.factory import credentials_path, load_configuration
from assumed.app.source_lookup import SourceLookup
from assumed.errors import (
    AssumedError,
    ConfigurationError,
    ConfigurationUnavailableError,
    LocalFaultError,
)
from assumed.logs import event
from assumed.models import Configuration, WriteMode


class ConfigReloader:
    """Reads the configuration again, and keeps the active one if the new one has errors.

    `request` may be called from any thread, `reload` from one thread only.

    Args:
        initial: the configuration at the start; its `credentials_file` stays in effect.
        environ: the environment of the daemon.
        lookup: the profiles of the AWS files.
        apply: applies a valid configuration.
        request_reload: has `reload` called soon, by that thread.
    """

    def __init__(
        self,
        initial: Configuration,
        environ: Mapping[str, str],
        *,
        lookup: SourceLookup,
        apply: Callable[[Configuration], None],
        request_reload: Callable[[], None],
    ) -> None:
        self.initial = initial
        self._environ = environ
        self._lookup = lookup
        self._apply = apply
        self._request_reload = request_reload
        self._waiting: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()
        self.error: str | None = None
        """Why the configuration on disk was rejected or is unreadable; None if it is active."""
        self.is_unreadable = False
        """Whether it could not be read or applied: `reload` has to be called again."""

    def request(self) -> Future[None]:
        """Request a reload; the future is done when the configuration was applied or rejected."""
        reloaded: Future[None] = Future()
        reloaded.set_running_or_notify_cancel()
        self._waiting.put(reloaded)
        self._request_reload()
        return reloaded

    def reload(self, *, confirms_processes: bool = False) -> None:
        """Read the configuration; apply it, or log its errors.

        Args:
            confirms_processes: a person asks for it, so what the credentials file has may run.
        """
        if confirms_processes:
            self._lookup.confirm_processes()
        requests = self._waiting.qsize()
        try:
            configuration = load_configuration(self.initial.path, self._lookup)
        except (ConfigurationUnavailableError, LocalFaultError) as error:
            if self.error != str(error):
                _log_unreadable(error)
            self.error, self.is_unreadable = str(error), True
        except AssumedError as error:
            self.error, self.is_unreadable = str(error), False
            _log_rejection(error)
        else:
            # Until it is applied: after an error of this program it is read again.
            self.error, self.is_unreadable = "it could not be applied: see the log", True
            if self._file_settings(configuration) != self._file_settings(self.initial):
                event(
                    logging.WARNING,
                    "restart_needed",
                    hint="credentials_file has changed, which takes effect after a restart",
                )
            self._apply(configuration)
            self.error, self.is_unreadable = None, False
            event(
                logging.INFO,
                "config_reloaded",
                config=self.initial.path,
                profiles=len(configuration.profiles),
            )
        finally:
            for _ in range(requests):
                self._waiting.get().set_result(None)

    def _file_settings(self, configuration: Configuration) -> tuple[Path, WriteMode]:
        return credentials_path(configuration, self._environ), configuration.write


def _log_unreadable(error: AssumedError) -> None:
    event(
        logging.WARNING,
        "config_unreadable",
        error=error.message,
        hint=f"{error.hint}; the previous configuration stays active, and the daemon reads the "
        "file again until it can",
    )


def _log_rejection(error: AssumedError) -> None:
    problems = error.problems if isinstance(error, ConfigurationError) else [str(error)]
    for problem in problems:
        event(
            logging.ERROR,
            "config_rejected",
            problem=problem,
            hint=f"{error.hint}; until then the previous configuration stays active, so do not "
            "restart the daemon",
        )
