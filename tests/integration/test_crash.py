"""A write that is killed at, or fails in, each of its system calls leaves a whole file.

A write calls the system through Python's `os` and `fcntl` modules and one function of libc, so the
tests can inject a kill or an error into any of those calls, on any machine. If strace is installed,
it does the same from outside, at the boundary of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from assumed.errors import CredentialsFileUnwritableError
from assumed.models import WriteMode
from assumed.storage import CredentialsFile, atomic_replace, renameat2
from tests.credentials_files import (
    LONG_TERM,
    as_botocore_reads,
    credentials,
    mode,
    names_in,
    section,
)
from tests.repository import REPOSITORY

BACKUP = "credentials.assumed-backup"
KILLED = 77
OTHER_EDIT = b"[other]\nk = v\n"

_OS_CALLS = (
    "open",
    "close",
    "fstat",
    "stat",
    "lstat",
    "read",
    "pread",
    "pwrite",
    "ftruncate",
    "fsync",
    "fchmod",
    "fchown",
    "link",
    "unlink",
    "rename",
    "replace",
    "mkdir",
    "listxattr",
    "getxattr",
    "setxattr",
)
_FCNTL_CALLS = ("fcntl", "flock")

Fault = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Replaces a call; receives the function and its arguments."""


class Calls:
    """The system calls of a write in their order, with a fault in one of them.

    Args:
        fault: replaces a call.
        at: the number of that call, from 0; None for no fault.
        is_lasting: the fault replaces all later calls too.
    """

    def __init__(self, fault: Fault, at: int | None, *, is_lasting: bool = False) -> None:
        self.names: list[str] = []
        self._fault, self._at, self._is_lasting = fault, at, is_lasting

    @contextmanager
    def watched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for module, names in ((os, _OS_CALLS), (fcntl, _FCNTL_CALLS)):
                for name in names:
                    if hasattr(module, name):
                        patch.setattr(module, name, self._wrapped(name, getattr(module, name)))
            function = renameat2._libc_renameat2()
            if function is not None:
                wrapped = self._wrapped("renameat2", function)
                patch.setattr(renameat2, "_libc_renameat2", lambda: wrapped)
            yield

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            number = len(self.names)
            self.names.append(name)
            if (
                self._at is None
                or number < self._at
                or (number > self._at and not self._is_lasting)
            ):
                return function(*arguments, **keywords)
            return self._fault(function, arguments, keywords)

        call.__name__ = name
        return call


def kill(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Exit without any clean-up, as by SIGKILL."""
    os._exit(KILLED)


def kill_half_way(
    function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Exit in the middle of a `pwrite`."""
    if function.__name__ == "pwrite":
        descriptor, data, offset = arguments
        function(descriptor, data[: len(data) // 2], offset)
    os._exit(KILLED)


def fail(
    reason: int, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Raise an OSError; a `pwrite` fails half-way, and `close` closes the file first."""
    if function.__name__ == "pwrite":
        descriptor, data, offset = arguments
        function(descriptor, data[: len(data) // 2], offset)
    if function.__name__ == "close":
        function(*arguments, **keywords)
    if not hasattr(function, "argtypes"):
        raise OSError(reason, os.strerror(reason))
    ctypes.set_errno(reason)
    return -1


@dataclass(frozen=True)
class Change:
    """A change of the file.

    Args:
        before: the content of the file; None if it is missing.
        after: its content after a successful change.
        make: makes the change.
        is_in_place: readers can see a mix of both until the next start.
    """

    before: bytes | None
    after: bytes
    make: Callable[[Path], object]
    is_in_place: bool = False


def _no_sleep(seconds: float) -> None:
    return


def _write(path: Path, *, how: WriteMode = WriteMode.REPLACE) -> None:
    CredentialsFile(path, write=how, sleep=_no_sleep).write("deploy", credentials()).result()


def _recover(path: Path) -> None:
    CredentialsFile(path, sleep=_no_sleep).recover()


def _write_over(path: Path) -> None:
    CredentialsFile(path, sleep=_no_sleep).write("default", credentials(), overwrite=True).result()


def _remove_in_place(path: Path) -> None:
    CredentialsFile(path, write=WriteMode.IN_PLACE, sleep=_no_sleep).remove()


def _write_mounted(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic_replace, "exchange", partial(_refuse_exchange))
        _write(path)


def _refuse_exchange(one: Path, other: Path) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _write_without_exchange(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renameat2, "_libc_renameat2", lambda: None)
        _write(path)


NEW = LONG_TERM + section("deploy")
CHANGES = {
    "replace": Change(LONG_TERM, NEW, _write),
    "create": Change(None, section("deploy"), _write),
    "overwrite": Change(
        LONG_TERM, section("default").replace(b"[default]", b"# mine\n[default]"), _write_over
    ),
    "no exchange": Change(LONG_TERM, NEW, _write_without_exchange),
    "create without exchange": Change(None, section("deploy"), _write_without_exchange),
    "in place": Change(LONG_TERM, NEW, partial(_write, how=WriteMode.IN_PLACE), is_in_place=True),
    "shorter in place": Change(NEW, LONG_TERM, _remove_in_place, is_in_place=True),
    "mounted": Change(LONG_TERM, NEW, _write_mounted, is_in_place=True),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_replace, "_LATE_OPENER_CHECKS", 2)


class Directory:
    """A new directory with a credentials file, for one crash."""

    def __init__(self, parent: Path, change: Change) -> None:
        self.path = parent / "aws"
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700)
        self.file = self.path / "credentials"
        self.change = change
        if change.before is not None:
            self.file.write_bytes(change.before)
            self.file.chmod(0o600)

    def content(self) -> bytes | None:
        return self.file.read_bytes() if self.file.exists() else None

    def check_whole(self) -> None:
        """Check that the file is the old one or the new one, and that no long-term key is lost."""
        content = self.content()
        assert content in {self.change.before, self.change.after}
        if content is not None:
            as_botocore_reads(self.file)
            assert mode(self.file) == 0o600
        if self.change.before is not None:
            kept = [content or b""]
            with suppress(FileNotFoundError):
                kept.append((self.path / BACKUP).read_bytes())
            assert any(b"the/only/copy" in found for found in kept)

    def check_recovery(self) -> None:
        """Recover, change the file again, and check that no temporary file remains."""
        _recover(self.file)
        self.check_whole()
        assert names_in(self.path, besides=["credentials", BACKUP]) == set()
        self.change.make(self.file)
        assert self.content() == self.change.after
        assert names_in(self.path, besides=[BACKUP]) == {"credentials"}
        assert all(mode(path) == 0o600 for path in self.path.iterdir())


def calls_of(action: Callable[[], object]) -> list[str]:
    calls = Calls(kill, None)
    # coverage.py makes calls of its own, and none in the process that is killed.
    tracer, thread_tracer = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        with calls.watched():
            action()
    finally:
        sys.settrace(tracer)
        threading.settrace(thread_tracer)
    return calls.names


# One process for each kill, forked from one that has the imports done and runs no threads.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


def _killed(action: Callable[[], object], fault: Fault, at: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic_replace, "_LATE_OPENER_CHECKS", 2)
        with Calls(fault, at).watched():
            action()
    os._exit(0)


def kill_at(action: Callable[[], object], at: int, fault: Fault = kill) -> None:
    process = _PROCESSES.Process(target=_killed, args=(action, fault, at))
    with pytest.MonkeyPatch.context() as patch:
        # Under `make coverage`, its own calls would be counted.
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        process.start()
    process.join()
    assert process.exitcode == KILLED


@pytest.mark.parametrize("name", CHANGES)
def test_write_killed_at_any_call_leaves_the_old_or_the_new_file(name: str, tmp_path: Path) -> None:
    change = CHANGES[name]
    directory = Directory(tmp_path, change)
    calls = calls_of(partial(change.make, directory.file))
    assert directory.content() == change.after

    for at, call in enumerate(calls):
        for fault in (kill, kill_half_way) if call == "pwrite" else (kill,):
            directory = Directory(tmp_path, change)
            kill_at(partial(change.make, directory.file), at, fault)
            if not change.is_in_place:
                directory.check_whole()
            directory.check_recovery()


def _error_message(change: Change, directory: Directory) -> str | None:
    try:
        change.make(directory.file)
    except CredentialsFileUnwritableError as error:
        return error.message
    return None


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", CHANGES)
def test_write_with_any_call_failing_leaves_the_old_or_the_new_file(
    name: str, reason: int, *, is_lasting: bool, tmp_path: Path
) -> None:
    change = CHANGES[name]
    calls = calls_of(partial(change.make, Directory(tmp_path, change).file))

    for at, _call in enumerate(calls):
        directory = Directory(tmp_path, change)
        with Calls(partial(fail, reason), at, is_lasting=is_lasting).watched():
            message = _error_message(change, directory)
        if message is None:
            assert directory.content() == change.after
        else:
            assert os.strerror(reason) in message
        if not (change.is_in_place and is_lasting):
            directory.check_whole()
        directory.check_recovery()


@pytest.mark.parametrize(
    "reason",
    [errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT],
    ids=errno.errorcode.get,
)
def test_write_gives_a_hint_for_each_error_of_the_system(reason: int, tmp_path: Path) -> None:
    change = CHANGES["replace"]
    calls = calls_of(partial(change.make, Directory(tmp_path, change).file))

    for at in [at for at, call in enumerate(calls) if call in {"pwrite", "fsync", "renameat2"}]:
        directory = Directory(tmp_path, change)
        with (
            Calls(partial(fail, reason), at).watched(),
            pytest.raises(CredentialsFileUnwritableError, match=os.strerror(reason)) as caught,
        ):
            change.make(directory.file)
        assert "check /" not in caught.value.hint
        directory.check_whole()
        directory.check_recovery()


# Killed when the exchange has just displaced the edit of another program


def _write_during_a_rename(path: Path) -> None:
    """Write, while another program renames its file into place just before the exchange."""

    def exchange(one: Path, other: Path) -> None:
        if other == path and not _other_edit_mark(path).exists():
            edited = path.with_name("other")
            edited.write_bytes(path.read_bytes() + OTHER_EDIT)
            edited.chmod(0o600)
            _other_edit_mark(path).touch()
            edited.rename(path)
        renameat2.exchange(one, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic_replace, "exchange", exchange)
        _write(path)


def _other_edit_mark(path: Path) -> Path:
    return path.parent.parent / "other-edit-exists"


DURING_A_RENAME = Change(
    LONG_TERM, LONG_TERM + OTHER_EDIT + section("deploy"), _write_during_a_rename
)


def test_write_killed_at_any_call_keeps_an_edit_that_it_displaced(
    tmp_path: Path,
) -> None:
    change = DURING_A_RENAME
    directory = Directory(tmp_path, change)
    calls = calls_of(partial(change.make, directory.file))
    assert directory.content() == change.after

    displaced = 0
    for at, _ in enumerate(calls):
        directory = Directory(tmp_path, change)
        _other_edit_mark(directory.file).unlink(missing_ok=True)
        kill_at(partial(change.make, directory.file), at)
        if not _other_edit_mark(directory.file).exists() or (directory.path / "other").exists():
            continue
        displaced += OTHER_EDIT not in (directory.content() or b"")
        _recover(directory.file)
        assert directory.content() in {LONG_TERM + OTHER_EDIT, change.after}
        assert names_in(directory.path) == {"credentials"}
    assert displaced


@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "from then on"])
def test_write_with_any_call_failing_keeps_an_edit_that_it_displaced(
    *, is_lasting: bool, tmp_path: Path
) -> None:
    change = DURING_A_RENAME
    calls = calls_of(partial(change.make, Directory(tmp_path, change).file))

    for at, _ in enumerate(calls):
        directory = Directory(tmp_path, change)
        _other_edit_mark(directory.file).unlink(missing_ok=True)
        with Calls(partial(fail, errno.EIO), at, is_lasting=is_lasting).watched():
            _error_message(change, directory)
        if not _other_edit_mark(directory.file).exists() or (directory.path / "other").exists():
            continue
        _recover(directory.file)
        assert directory.content() in {LONG_TERM + OTHER_EDIT, change.after}
        assert names_in(directory.path) == {"credentials"}


class Crashed:
    """Makes a directory in which an edit is displaced by a write that was killed."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        calls = calls_of(partial(DURING_A_RENAME.make, Directory(parent, DURING_A_RENAME).file))
        self._after_exchange = calls.index("renameat2") + 1

    def __call__(self) -> Directory:
        directory = Directory(self._parent, DURING_A_RENAME)
        _other_edit_mark(directory.file).unlink(missing_ok=True)
        kill_at(partial(DURING_A_RENAME.make, directory.file), self._after_exchange)
        assert directory.content() == NEW
        return directory


def test_recover_killed_at_any_call_is_completed_by_the_next_one(tmp_path: Path) -> None:
    crashed = Crashed(tmp_path)
    recover = calls_of(partial(_recover, crashed().file))
    assert "renameat2" in recover

    for at, _ in enumerate(recover):
        directory = crashed()
        kill_at(partial(_recover, directory.file), at)
        _recover(directory.file)
        assert directory.content() == LONG_TERM + OTHER_EDIT
        assert names_in(directory.path) == {"credentials"}


def test_recover_keeps_an_edit_beside_the_file_if_it_cannot_put_it_back(tmp_path: Path) -> None:
    crashed = Crashed(tmp_path)
    newer = NEW + b"# written after the crash\n"

    def edited_since() -> Directory:
        directory = crashed()
        directory.file.write_bytes(newer)
        return directory

    for at, _ in enumerate(calls_of(partial(_recover, edited_since().file))):
        directory = edited_since()
        kill_at(partial(_recover, directory.file), at)
        _recover(directory.file)
        assert directory.content() == newer
        (kept,) = directory.path.glob("credentials.assumed-conflict-*")
        assert kept.read_bytes() == LONG_TERM + OTHER_EDIT
        assert names_in(directory.path) == {"credentials", kept.name}


# From outside: strace injects the fault at the boundary of the kernel

_CHANGING = "openat,pwrite64,fsync,fchmod,fchown,ftruncate,rename,renameat2,link,unlink"
_SCRIPT = """
import sys
from pathlib import Path
from assumed.errors import CredentialsFileUnwritableError
from assumed.storage import CredentialsFile
from tests.credentials_files import credentials
try:
    CredentialsFile(Path(sys.argv[1])).write("deploy", credentials()).result()
except CredentialsFileUnwritableError as error:
    sys.exit(error.message)
"""


def _traced(directory: Directory, *injected: str) -> tuple[int, str, list[str]]:
    """Write under strace; return its exit status, its standard error, and its calls."""
    log = directory.path.with_suffix(".strace")
    companions = ("", "credentials", ".credentials.assumed-lock", ".credentials.assumed-new")
    done = subprocess.run(  # noqa: S603
        [
            shutil.which("strace") or "strace",
            *("-f", "-o", log, "-e", f"trace={_CHANGING}"),
            *(argument for name in companions for argument in ("-P", directory.path / name)),
            *(argument for rule in injected for argument in ("-e", f"inject={rule}")),
            *(sys.executable, "-c", _SCRIPT, directory.file),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        text=True,
    )
    return done.returncode, done.stderr, re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "how", ["signal=KILL", "error=ENOSPC", "error=EIO"], ids=["killed", "ENOSPC", "EIO"]
)
def test_write_under_strace_leaves_the_old_or_the_new_file(how: str, tmp_path: Path) -> None:
    change = CHANGES["replace"]
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    status, error, calls = _traced(Directory(tmp_path, change))
    if not calls:
        pytest.skip(f"strace may not trace here: {error}")
    assert (status, error) == (0, "")
    assert {"pwrite64", "fsync", "renameat2", "unlink"} <= set(calls)

    def check(number: int) -> None:
        parent = tmp_path / str(number)
        parent.mkdir()
        directory = Directory(parent, change)
        name = calls[number]
        when = calls[: number + 1].count(name)
        status, error, _ = _traced(directory, f"{name}:{how}:when={when}")
        if how == "signal=KILL":
            assert status == -signal.SIGKILL
        else:
            assert (status, bool(error)) in {(0, False), (1, True)}, error
            assert "Traceback" not in error
        directory.check_whole()
        directory.check_recovery()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, range(len(calls))))
