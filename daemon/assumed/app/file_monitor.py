"""Detection of changes of the configuration, the credentials file and the credential sources."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Set
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from assumed.clock import Clock
from assumed.config.permissions import permission_state
from assumed.platform.base import FileWatcher
from assumed.storage import FileSignature

# A directory that is created, or a command that is killed, causes no file event.
_UPDATE_INTERVAL_SECONDS = 60.0


class WatchedChange(Enum):
    """What has changed on disk."""

    CONFIG = auto()
    CREDENTIALS = auto()


class MonitoredEngine(Protocol):
    """What the monitor needs of `RefreshEngine`."""

    @property
    def credentials_path(self) -> Path:
        """The credentials file, with symbolic links resolved."""
        ...

    @property
    def own_last_write(self) -> FileSignature | None:
        """The signature of the credentials file after the last write of this process."""
        ...

    @property
    def is_file_unreadable(self) -> bool:
        """Whether the last attempt to read the credentials file failed."""
        ...

    @property
    def source_directories(self) -> Set[Path]:
        """The directories in which a change may mean new source credentials."""
        ...

    def request_heartbeat(self) -> None:
        """Request a heartbeat within a second."""
        ...


class FileMonitor:
    """Compares file signatures at every heartbeat, and requests a heartbeat on file events.

    Args:
        config_path: the configuration file.
        engine: knows the credentials file, whose own writes are not reported, and the directories
            of the credential sources.
        watch_files: creates a file watcher for a callback.
        clock: the source of time.
        has_other_sources: whether the AWS files would now change what the configuration means.
    """

    def __init__(
        self,
        config_path: Path,
        engine: MonitoredEngine,
        watch_files: Callable[[Callable[[], None]], FileWatcher],
        clock: Clock,
        *,
        has_other_sources: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config_path = config_path
        self._engine = engine
        self._watcher = watch_files(self.request_check)
        self._clock = clock
        self._has_other_sources = has_other_sources
        self._config_seen = self._config_pending = self._config_state()
        self._credentials_seen = FileSignature.stat(engine.credentials_path)
        self._updated_at = -math.inf
        self._has_changes = False

    def start(self) -> None:
        """Start watching for file events."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching; return at once."""
        self._watcher.stop()

    def request_check(self) -> None:
        """Request a check of everything within a second; from any thread."""
        self._has_changes = True
        self._engine.request_heartbeat()

    def config_is_read(self) -> None:
        """Record that the current configuration is about to be read, so it is not reported."""
        self._config_seen = self._config_pending = self._config_state()

    def check(self) -> Set[WatchedChange]:
        """Return which files have changed since the last call."""
        changes = set()
        if self._has_new_config():
            changes.add(WatchedChange.CONFIG)
        credentials = FileSignature.stat(self._engine.credentials_path)
        if credentials != self._credentials_seen:
            self._credentials_seen = credentials
            self._has_changes = True
            # An own write shows that the file is readable again, which has to be logged.
            is_own_write = credentials == self._engine.own_last_write
            if not is_own_write or self._engine.is_file_unreadable:
                changes.add(WatchedChange.CREDENTIALS)
        return changes

    def update_watches(self) -> bool:
        """Watch new directories, after changes and once a minute; return whether it was time."""
        now = self._clock.boottime()
        if not self._has_changes and now < self._updated_at + _UPDATE_INTERVAL_SECONDS:
            return False
        self._has_changes, self._updated_at = False, now
        files = {
            self._config_path,
            Path(os.path.realpath(self._config_path)),
            self._engine.credentials_path,
        }
        self._watcher.watch(self._engine.source_directories | {file.parent for file in files})
        return True

    def _has_new_config(self) -> bool:
        config = self._config_state()
        if config == self._config_seen:
            return self._has_other_sources()
        if config != self._config_pending:
            # An editor may not have finished writing it: the next heartbeat is a second away.
            self._config_pending = config
            self.request_check()
            return False
        self._config_seen = config
        return True

    def _config_state(self) -> object:
        """Return a value that changes with the file and with whether it is trusted."""
        return FileSignature.stat(self._config_path), permission_state(self._config_path)
