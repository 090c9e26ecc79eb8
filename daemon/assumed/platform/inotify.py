"""A file watcher on inotify, so that changes are noticed at once and without polling.

If inotify is not available or its limit is reached, the heartbeat notices changes later.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from assumed.local_faults import LOCAL_FAULTS, thread_shortage
from assumed.logs import event

# Not every write, open and read: a change is complete when the file is closed or has its name.
_EVENTS: list[type[FileSystemEvent]] = [
    # Such as `~/.aws/sso` at the first login: files in it are of interest too.
    DirCreatedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
]


_FAULT = "inotify watches are used up, so changes are noticed within 15 s"


class DirectoryWatcher:
    """Calls `on_change` from its own thread when files change in one of the directories."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._handler = _ChangeHandler(on_change)
        self._observer: BaseObserver | None = None
        self._watched: set[Path] = set()
        self._is_failure_logged = False

    def start(self) -> None:
        """Start watching; `watch` adds the directories."""
        self._start_observer()

    def watch(self, directories: Iterable[Path]) -> None:
        """Watch these directories too.

        A directory that does not exist is skipped: call this again once it does.
        """
        observer = self._observer or self._start_observer()
        if observer is None:
            return
        for directory in directories:
            if directory in self._watched or not os.path.isdir(directory):  # noqa: PTH112 - is_dir raises on a fault
                continue
            try:
                observer.schedule(self._handler, str(directory), event_filter=_EVENTS)
            except RuntimeError as error:
                thread_shortage(error)
                return
            except OSError as error:
                self._log_failure(directory, error)
                return
            self._watched.add(directory)
        if self._is_failure_logged:
            self._is_failure_logged = False
            LOCAL_FAULTS.end(_FAULT)
            event(logging.INFO, "file_watch_available")

    def stop(self) -> None:
        """Stop watching; return at once."""
        if self._observer is not None:
            self._observer.stop()

    def _start_observer(self) -> BaseObserver | None:
        """Start the threads; return None if that fails, which the next call tries again."""
        try:
            observer = Observer()
            observer.start()
        except RuntimeError as error:
            thread_shortage(error)
            return None
        except OSError as error:
            self._log_failure(None, error)
            return None
        self._observer = observer
        return observer

    def _log_failure(self, directory: Path | None, error: OSError) -> None:
        if self._is_failure_logged:
            return
        self._is_failure_logged = True
        LOCAL_FAULTS.begin(_FAULT)
        event(
            logging.WARNING,
            "file_watch_unavailable",
            path=directory,
            error=error.strerror,
            hint="changes are noticed within 15 s; to notice them at once, raise the sysctl "
            "fs.inotify.max_user_watches or fs.inotify.max_user_instances",
        )


class _ChangeHandler(FileSystemEventHandler):
    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._on_change()
