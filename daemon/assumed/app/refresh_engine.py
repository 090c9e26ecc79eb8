"""The refreshing part of the daemon: the scheduler, its jobs, and the credentials file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from datetime import timedelta
from pathlib import Path

from assumed.app.factory import stored_credentials
from assumed.app.shadowing import ShadowingLog
from assumed.engine.heartbeat import HeartbeatScheduler
from assumed.engine.internal_errors import InternalErrors
from assumed.engine.refresher import Refresher
from assumed.engine.scheduler import RefreshScheduler
from assumed.engine.status import Summary
from assumed.errors import AssumedError
from assumed.logs import event
from assumed.models import Configuration, Credentials
from assumed.storage import CredentialsFile, FileSignature
from assumed.storage.locks import DaemonLock


class RefreshEngine:
    """Keeps the scheduler in line with the configuration and with the credentials file.

    Args:
        file: the credentials file.
        refresher: refreshes one profile.
        scheduler: decides when to refresh which profile.
        jobs: runs the jobs of the scheduler.
        shadowing: logs which refreshed keys AWS tools ignore.
    """

    def __init__(
        self,
        *,
        file: CredentialsFile,
        refresher: Refresher,
        scheduler: RefreshScheduler,
        jobs: HeartbeatScheduler,
        shadowing: ShadowingLog,
    ) -> None:
        self.scheduler = scheduler
        self._file = file
        self._refresher = refresher
        self._jobs = jobs
        self._shadowing = shadowing
        self._is_unreadable = False
        """Whether the log says that the credentials file is unreadable."""

    @property
    def credentials_path(self) -> Path:
        """The credentials file, with symbolic links resolved."""
        return self._file.path

    @property
    def own_last_write(self) -> FileSignature | None:
        """The signature of the credentials file after the last write of this process."""
        return self._file.own_last_write

    @property
    def is_file_unreadable(self) -> bool:
        """Whether the last attempt to read the credentials file failed."""
        return self._is_unreadable

    @property
    def file_writes(self) -> int:
        """How many times this process has written the credentials file."""
        return self._file.writes

    @property
    def source_directories(self) -> Set[Path]:
        """The directories in which a change may mean new source credentials."""
        return self._refresher.source_directories

    @property
    def clock_skews(self) -> Mapping[str, timedelta]:
        """How far the local clock is ahead of each STS endpoint, by URL; zero if under a minute."""
        return self._refresher.clock_skews

    def acquire_daemon_lock(self, config: str) -> DaemonLock:
        """Lock the credentials file for this daemon, with the path of its configuration.

        Raises:
            AlreadyRunningError: another daemon holds it.
            CredentialsFileError: the lock cannot be created.
        """
        return self._file.acquire_daemon_lock(config)

    def load(self, configuration: Configuration) -> None:
        """Complete a write that a crash interrupted, then schedule the first refreshes.

        Raises:
            CredentialsFileError: the interrupted write cannot be completed.
        """
        self._file.recover()
        self.configure(configuration)

    def configure(self, configuration: Configuration) -> None:
        """Apply a configuration; sessions in the credentials file that are fresh are kept."""
        self.scheduler.update_definitions(configuration.profiles, self._stored() or {})
        self._shadowing.update(configuration)

    def reconcile(self) -> None:
        """Compare the credentials file with the sessions, and restore overwritten profiles."""
        self.scheduler.reconcile(self._stored())

    def heartbeat(self) -> bool:
        """Notice what no job reports: a stepped clock, a changed source, an expired session.

        Returns:
            Whether every enabled profile will be refreshed.
        """
        return self.scheduler.heartbeat()

    def start(self) -> None:
        """Start refreshing."""
        self._jobs.start()

    def request_heartbeat(self) -> None:
        """Request a heartbeat within a second; from any thread."""
        self._jobs.beat_soon()

    @property
    def errors(self) -> InternalErrors:
        """The errors of this program that were caught."""
        return self.scheduler.errors

    def summary(self) -> Summary:
        """Return how many profiles are valid, and when the next refresh is due."""
        return self.scheduler.summary()

    def stop(self) -> None:
        """Stop refreshing; return at once, even if a call to STS hangs."""
        self.scheduler.stop()
        self._jobs.shutdown(wait=False)
        self._file.close()

    def _stored(self) -> Mapping[str, Credentials] | None:
        """Return the credentials in the file; None if it cannot be read, which is logged once."""
        try:
            stored = stored_credentials(self._file)
        except AssumedError as error:
            self._is_unreadable = True
            event(
                logging.ERROR,
                "credentials_file_unreadable",
                error_code=error.code,
                error=error.message,
                hint=error.hint,
            )
            return None
        if self._is_unreadable:
            self._is_unreadable = False
            event(logging.INFO, "credentials_file_readable")
        return stored
