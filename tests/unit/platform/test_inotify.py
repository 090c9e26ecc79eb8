from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from watchdog.events import FileClosedEvent

from assumed import local_faults
from assumed.local_faults import LocalFaults
from assumed.platform import inotify
from assumed.platform.inotify import DirectoryWatcher
from tests.unit.engine.helpers import logged


class FakeObserver:
    def __init__(self) -> None:
        self.watched: list[str] = []
        self.handlers: list[Any] = []
        self.error: OSError | None = None
        self.start_error: Exception | None = None
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        if self.start_error is not None:
            raise self.start_error

    def schedule(self, handler: Any, path: str, *, event_filter: object) -> None:
        if self.error is not None:
            raise self.error
        self.handlers.append(handler)
        self.watched.append(path)


@pytest.fixture
def observer(monkeypatch: pytest.MonkeyPatch) -> FakeObserver:
    observer = FakeObserver()
    monkeypatch.setattr(inotify, "Observer", lambda: observer)
    faults = LocalFaults()
    monkeypatch.setattr(inotify, "LOCAL_FAULTS", faults)
    monkeypatch.setattr(local_faults, "LOCAL_FAULTS", faults)
    return observer


def test_each_directory_is_watched_once_and_as_soon_as_it_exists(
    observer: FakeObserver, tmp_path: Path
) -> None:
    first, later = tmp_path / "first", tmp_path / "later"
    first.mkdir()
    watcher = DirectoryWatcher(lambda: None)
    watcher.watch([later, first])
    assert observer.watched == [str(first)]
    later.mkdir()
    watcher.watch([later, first])
    assert observer.watched == [str(first), str(later)]


def test_any_event_is_a_change(observer: FakeObserver, tmp_path: Path) -> None:
    changes: list[str] = []
    DirectoryWatcher(lambda: changes.append("change")).watch([tmp_path])
    observer.handlers[0].dispatch(FileClosedEvent(str(tmp_path / "config.yaml")))
    assert changes == ["change"]


def test_a_limit_that_is_reached_is_logged_once_and_tried_again(
    observer: FakeObserver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "assumed")
    observer.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    watcher = DirectoryWatcher(lambda: None)
    for _ in range(2):
        watcher.watch([tmp_path])
    [fields] = logged(caplog, "file_watch_unavailable")
    assert fields["path"] == tmp_path
    assert "max_user_watches" in fields["hint"]
    assert logged(caplog, "file_watch_available") == []
    observer.error = None
    for _ in range(2):
        watcher.watch([tmp_path])
    assert observer.watched == [str(tmp_path)]
    assert len(logged(caplog, "file_watch_available")) == 1


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), RuntimeError("can't start new thread")],
    ids=["instances", "threads"],
)
def test_a_watch_that_cannot_start_is_started_later(
    observer: FakeObserver, tmp_path: Path, error: Exception
) -> None:
    observer.start_error = error
    watcher = DirectoryWatcher(lambda: None)
    watcher.start()
    watcher.watch([tmp_path])
    assert observer.watched == []
    observer.start_error = None
    watcher.watch([tmp_path])
    assert observer.watched == [str(tmp_path)]
    assert observer.starts == 3
