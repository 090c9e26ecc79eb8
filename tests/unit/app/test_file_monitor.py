from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from assumed.app.file_monitor import FileMonitor, WatchedChange
from assumed.storage import FileSignature
from tests.fakes import FakeClock


class FakeEngine:
    def __init__(self, directory: Path) -> None:
        self.credentials_path = directory / "credentials"
        self.source_directories = frozenset({directory / "sso"})
        self.own_last_write: FileSignature | None = None
        self.is_file_unreadable = False
        self.heartbeats_requested = 0

    def request_heartbeat(self) -> None:
        self.heartbeats_requested += 1


class FakeWatcher:
    def __init__(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change
        self.watched: list[set[Path]] = []

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def watch(self, directories: Iterable[Path]) -> None:
        self.watched.append({*directories})


class Monitored:
    def __init__(self, directory: Path) -> None:
        self.config = directory / "config.yaml"
        self.config.write_text("one")
        self.engine = FakeEngine(directory)
        self.engine.credentials_path.write_text("one")
        self.clock = FakeClock()
        self.watchers: list[FakeWatcher] = []
        self.monitor = FileMonitor(self.config, self.engine, self.watch_files, self.clock)

    def watch_files(self, on_change: Callable[[], None]) -> FakeWatcher:
        self.watchers.append(FakeWatcher(on_change))
        return self.watchers[-1]


@pytest.fixture
def files(tmp_path: Path) -> Monitored:
    return Monitored(tmp_path)


def test_check_reports_nothing_without_changes(files: Monitored) -> None:
    assert files.monitor.check() == set()
    assert files.engine.heartbeats_requested == 0


def test_check_reports_a_changed_config_once_it_is_stable(files: Monitored) -> None:
    files.config.write_text("half")
    assert files.monitor.check() == set()
    assert files.engine.heartbeats_requested == 1
    files.config.write_text("the whole file")
    assert files.monitor.check() == set()
    assert files.monitor.check() == {WatchedChange.CONFIG}
    assert files.monitor.check() == set()


def test_check_ignores_a_config_that_is_read_anyway(files: Monitored) -> None:
    files.config.write_text("another")
    files.monitor.config_is_read()
    assert files.monitor.check() == set()
    assert files.monitor.check() == set()


def test_check_reports_changed_credentials_except_for_own_writes(files: Monitored) -> None:
    files.engine.credentials_path.write_text("of another program")
    assert files.monitor.check() == {WatchedChange.CREDENTIALS}
    assert files.monitor.check() == set()
    files.engine.credentials_path.write_text("of this process")
    files.engine.own_last_write = FileSignature.stat(files.engine.credentials_path)
    assert files.monitor.check() == set()


def test_check_reports_an_own_write_to_a_file_that_was_unreadable(files: Monitored) -> None:
    files.engine.is_file_unreadable = True
    files.engine.credentials_path.write_text("of this process")
    files.engine.own_last_write = FileSignature.stat(files.engine.credentials_path)
    assert files.monitor.check() == {WatchedChange.CREDENTIALS}


def test_a_file_event_requests_a_heartbeat(files: Monitored) -> None:
    files.watchers[0].on_change()
    assert files.engine.heartbeats_requested == 1


def test_update_watches_runs_after_changes_and_once_a_minute(
    files: Monitored, tmp_path: Path
) -> None:
    assert files.monitor.update_watches()
    assert files.watchers[0].watched == [{tmp_path, tmp_path / "sso"}]
    assert not files.monitor.update_watches()
    files.monitor.request_check()
    assert files.monitor.update_watches()
    files.clock.advance(timedelta(seconds=59))
    assert not files.monitor.update_watches()
    files.clock.advance(timedelta(seconds=1))
    assert files.monitor.update_watches()
    assert len(files.watchers[0].watched) == 3


@pytest.mark.parametrize("place", ["file", "directory"])
def test_check_reports_a_config_that_others_may_write_and_its_repair(
    files: Monitored, place: str
) -> None:
    path = files.config if place == "file" else files.config.parent
    before = path.stat().st_mode
    for mode in (0o777, before):
        path.chmod(mode)
        assert files.monitor.check() == set()
        assert files.monitor.check() == {WatchedChange.CONFIG}
        assert files.monitor.check() == set()


def test_check_reports_a_link_on_the_way_that_leads_elsewhere(tmp_path: Path) -> None:
    for name in ("..1", "..2"):
        (tmp_path / name).mkdir()
        Monitored(tmp_path / name)
    (tmp_path / "..data").symlink_to("..1")
    engine = FakeEngine(tmp_path)
    monitor = FileMonitor(tmp_path / "..data/config.yaml", engine, FakeWatcher, FakeClock())
    (tmp_path / "..data").unlink()
    (tmp_path / "..data").symlink_to("..2")
    assert monitor.check() == set()
    assert monitor.check() == {WatchedChange.CONFIG}


def test_check_reports_other_source_profiles(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("one")
    answers = iter([False, True, False])
    monitor = FileMonitor(
        config,
        FakeEngine(tmp_path),
        FakeWatcher,
        FakeClock(),
        has_other_sources=lambda: next(answers),
    )
    assert [monitor.check() for _ in range(3)] == [set(), {WatchedChange.CONFIG}, set()]
