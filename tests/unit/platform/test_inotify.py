from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from watchdog.events import FileClosedEvent

from assumed.platform import inotify
from assumed.platform.inotify import DirectoryWatcher
from tests.unit.engine.helpers import logged


class FakeObserver:
    def __init__(self) -> None:
        self.watched: list[str] = []
        self.handlers: list[Any] = []
        self.error: OSError | None = None

    def schedule(self, handler: Any, path: str, *, event_filter: object) -> None:
        if self.error is not None:
            raise self.error
        self.handlers.append(handler)
        self.watched.append(path)


@pytest.fixture
def observer(monkeypatch: pytest.MonkeyPatch) -> FakeObserver:
    observer = FakeObserver()
    monkeypatch.setattr(inotify, "Observer", lambda: observer)
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
    observer.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    watcher = DirectoryWatcher(lambda: None)
    for _ in range(2):
        watcher.watch([tmp_path])
    [fields] = logged(caplog, "file_watch_unavailable")
    assert fields["path"] == tmp_path
    assert "max_user_watches" in fields["hint"]
    observer.error = None
    watcher.watch([tmp_path])
    assert observer.watched == [str(tmp_path)]
