"""Zombies that process 1 waits for, in a directory that stands for /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assumed.platform import reaper
from assumed.platform.reaper import ZombieReaper

OWN_SESSION, OTHER_SESSION = 1, 77


class Processes:
    """Processes by their ID, as process 1 sees them."""

    def __init__(self, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._proc = proc
        self.now = 100.0
        self.own_children: set[int] = set()
        self.waited: list[int] = []
        self.reaper = ZombieReaper(lambda: self.own_children, lambda: self.now)
        (proc / "self").mkdir()
        monkeypatch.setattr(reaper, "_PROC", proc)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        monkeypatch.setattr(os, "getsid", lambda _: OWN_SESSION)
        monkeypatch.setattr(os, "waitpid", self._wait)

    def _wait(self, pid: int, options: int) -> tuple[int, int]:
        assert options == os.WNOHANG, "it must not block"
        self.waited.append(pid)
        if not (self._proc / str(pid)).exists():
            raise ChildProcessError
        self.end(pid)
        return pid, 0

    def add(
        self, pid: int, state: str = "Z", *, parent: int = 1, session: int = OTHER_SESSION
    ) -> None:
        directory = self._proc / str(pid)
        directory.mkdir()
        (directory / "stat").write_text(f"{pid} (a) Z 1 (b) {state} {parent} 9 {session} 0 -1")

    def end(self, pid: int) -> None:
        (self._proc / str(pid) / "stat").unlink()
        (self._proc / str(pid)).rmdir()

    def reap_after(self, seconds: float) -> int:
        self.now += seconds
        return self.reaper.reap()


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(tmp_path, monkeypatch)


def test_an_orphaned_zombie_is_reaped_after_some_seconds(processes: Processes) -> None:
    processes.add(20)
    assert processes.reap_after(0) == 0
    assert processes.reap_after(4.9) == 0
    assert processes.reap_after(0.1) == 1
    assert processes.waited == [20]
    assert processes.reap_after(60) == 0


def test_a_zombie_of_the_own_session_has_minutes_to_be_waited_for(processes: Processes) -> None:
    processes.add(20, session=OWN_SESSION)
    assert [processes.reap_after(seconds) for seconds in (0, 179, 1)] == [0, 0, 1]


@pytest.mark.parametrize(("state", "parent"), [("S", 1), ("R", 1), ("Z", 20)])
def test_what_is_no_zombie_of_this_process_is_left_alone(
    processes: Processes, state: str, parent: int
) -> None:
    processes.add(21, state, parent=parent)
    assert [processes.reap_after(seconds) for seconds in (0, 1000)] == [0, 0]
    assert processes.waited == []


def test_a_child_that_other_code_waits_for_is_left_to_it(processes: Processes) -> None:
    processes.add(20)
    processes.own_children = {20}
    assert [processes.reap_after(seconds) for seconds in (0, 1000)] == [0, 0]
    assert processes.waited == []


def test_the_next_process_with_the_same_id_is_a_new_one(processes: Processes) -> None:
    processes.add(20)
    processes.reap_after(0)
    processes.end(20)
    processes.reap_after(4)
    processes.add(20)
    assert processes.reap_after(4) == 0


def test_a_zombie_that_another_thread_has_waited_for_is_not_counted(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.add(20)
    processes.reap_after(0)
    wait = os.waitpid

    def after_another(pid: int, options: int) -> tuple[int, int]:
        processes.end(pid)
        return wait(pid, options)

    monkeypatch.setattr(os, "waitpid", after_another)
    assert processes.reap_after(10) == 0
    assert processes.waited == [20]


def test_only_process_1_reaps(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.add(20)
    monkeypatch.setattr(os, "getpid", lambda: 2)
    assert [processes.reap_after(seconds) for seconds in (0, 1000)] == [0, 0]
