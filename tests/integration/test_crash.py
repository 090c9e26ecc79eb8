"""Killed at every system call of a commit, and each of them failing: the file is whole.

What a commit asks of the system goes through Python's `os` and `fcntl` modules and one function of
libc, so a kill or an error can be put at any one of those calls, on any machine. Where strace is
there, it does the same from outside, at the border of the kernel.
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
THEIRS = b"[theirs]\nk = v\n"

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
    "mkdir",
    "listxattr",
    "getxattr",
    "setxattr",
)
_FCNTL_CALLS = ("fcntl", "flock")

Fault = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Instead of a call: is given the function and its arguments."""


class Calls:
    """The calls of a commit in their order, with a fault at one of them.

    Args:
        fault: what is done instead of a call.
        at: the number of that call, from 0; None is no fault at all.
        is_lasting: it is done instead of all calls after that too.
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
    """Die without any tidying up, as by SIGKILL."""
    os._exit(KILLED)


def kill_half_way(
    function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Die in the middle of a write."""
    if function.__name__ == "pwrite":
        descriptor, data, offset = arguments
        function(descriptor, data[: len(data) // 2], offset)
    os._exit(KILLED)


def fail(
    reason: int, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Fail for a reason; a write fails half-way, and what is to be closed is closed after all."""
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
class Commit:
    """A change of the file.

    Args:
        before: what the file holds; None is no file.
        after: what it holds when all went well.
        make: makes the change.
        is_in_place: readers can see something in between, until the next start.
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
COMMITS = {
    "replace": Commit(LONG_TERM, NEW, _write),
    "create": Commit(None, section("deploy"), _write),
    "overwrite": Commit(
        LONG_TERM, section("default").replace(b"[default]", b"# mine\n[default]"), _write_over
    ),
    "no exchange": Commit(LONG_TERM, NEW, _write_without_exchange),
    "create without exchange": Commit(None, section("deploy"), _write_without_exchange),
    "in place": Commit(LONG_TERM, NEW, partial(_write, how=WriteMode.IN_PLACE), is_in_place=True),
    "shorter in place": Commit(NEW, LONG_TERM, _remove_in_place, is_in_place=True),
    "mounted": Commit(LONG_TERM, NEW, _write_mounted, is_in_place=True),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_replace, "_LATE_OPENER_CHECKS", 2)


class Folder:
    """A folder with a credentials file, made anew for each crash."""

    def __init__(self, parent: Path, commit: Commit) -> None:
        self.path = parent / "aws"
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700)
        self.file = self.path / "credentials"
        self.commit = commit
        if commit.before is not None:
            self.file.write_bytes(commit.before)
            self.file.chmod(0o600)

    def content(self) -> bytes | None:
        return self.file.read_bytes() if self.file.exists() else None

    def check_whole(self) -> None:
        """Check that the file is the old one or the new one, and that no key is lost."""
        content = self.content()
        assert content in {self.commit.before, self.commit.after}
        if content is not None:
            as_botocore_reads(self.file)
            assert mode(self.file) == 0o600
        if self.commit.before is not None:
            kept = [content or b""]
            with suppress(FileNotFoundError):
                kept.append((self.path / BACKUP).read_bytes())
            assert any(b"the/only/copy" in found for found in kept)

    def check_healed(self) -> None:
        """Start again, commit again, and check that nothing is left over."""
        _recover(self.file)
        self.check_whole()
        assert names_in(self.path, but=["credentials", BACKUP]) == set()
        self.commit.make(self.file)
        assert self.content() == self.commit.after
        assert names_in(self.path, but=[BACKUP]) == {"credentials"}
        assert all(mode(path) == 0o600 for path in self.path.iterdir())


def calls_of(action: Callable[[], object]) -> list[str]:
    calls = Calls(kill, None)
    with calls.watched():
        action()
    return calls.names


# A process for each kill, forked from one that has all of it imported and has no threads.
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
    process.start()
    process.join()
    assert process.exitcode == KILLED


@pytest.mark.parametrize("name", COMMITS)
def test_killed_at_any_call_the_file_is_old_or_new_and_the_next_start_tidies_up(
    name: str, tmp_path: Path
) -> None:
    commit = COMMITS[name]
    folder = Folder(tmp_path, commit)
    calls = calls_of(partial(commit.make, folder.file))
    assert folder.content() == commit.after

    for at, call in enumerate(calls):
        for fault in (kill, kill_half_way) if call == "pwrite" else (kill,):
            folder = Folder(tmp_path, commit)
            kill_at(partial(commit.make, folder.file), at, fault)
            if not commit.is_in_place:
                folder.check_whole()
            folder.check_healed()


def _refusal(commit: Commit, folder: Folder) -> str | None:
    try:
        commit.make(folder.file)
    except CredentialsFileUnwritableError as error:
        return error.message
    return None


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", COMMITS)
def test_when_any_call_fails_the_file_is_old_or_new_and_heals(
    name: str, reason: int, *, is_lasting: bool, tmp_path: Path
) -> None:
    commit = COMMITS[name]
    calls = calls_of(partial(commit.make, Folder(tmp_path, commit).file))

    for at, _call in enumerate(calls):
        folder = Folder(tmp_path, commit)
        with Calls(partial(fail, reason), at, is_lasting=is_lasting).watched():
            refusal = _refusal(commit, folder)
        if refusal is None:
            assert folder.content() == commit.after
        else:
            assert os.strerror(reason) in refusal
        if not (commit.is_in_place and is_lasting):
            folder.check_whole()
        folder.check_healed()


@pytest.mark.parametrize(
    "reason",
    [errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT],
    ids=errno.errorcode.get,
)
def test_any_other_refusal_to_write_leaves_the_old_file_and_says_what_to_do(
    reason: int, tmp_path: Path
) -> None:
    commit = COMMITS["replace"]
    calls = calls_of(partial(commit.make, Folder(tmp_path, commit).file))

    for at in [at for at, call in enumerate(calls) if call in {"pwrite", "fsync", "renameat2"}]:
        folder = Folder(tmp_path, commit)
        with (
            Calls(partial(fail, reason), at).watched(),
            pytest.raises(CredentialsFileUnwritableError, match=os.strerror(reason)) as caught,
        ):
            commit.make(folder.file)
        assert "check /" not in caught.value.hint
        folder.check_whole()
        folder.check_healed()


# Killed while another program's edit has just lost its name to our file


def _write_beside_a_rename(path: Path) -> None:
    """Write, while another program renames its file into place just before our exchange."""

    def exchange(one: Path, other: Path) -> None:
        if other == path and not _their_mark(path).exists():
            theirs = path.with_name("theirs")
            theirs.write_bytes(path.read_bytes() + THEIRS)
            theirs.chmod(0o600)
            _their_mark(path).touch()
            theirs.rename(path)
        renameat2.exchange(one, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic_replace, "exchange", exchange)
        _write(path)


def _their_mark(path: Path) -> Path:
    return path.parent.parent / "theirs-is-there"


BESIDE_A_RENAME = Commit(LONG_TERM, LONG_TERM + THEIRS + section("deploy"), _write_beside_a_rename)


def test_killed_at_any_call_an_edit_that_had_just_lost_its_name_gets_it_back(
    tmp_path: Path,
) -> None:
    commit = BESIDE_A_RENAME
    folder = Folder(tmp_path, commit)
    calls = calls_of(partial(commit.make, folder.file))
    assert folder.content() == commit.after

    put_back = 0
    for at, _ in enumerate(calls):
        folder = Folder(tmp_path, commit)
        _their_mark(folder.file).unlink(missing_ok=True)
        kill_at(partial(commit.make, folder.file), at)
        if not _their_mark(folder.file).exists() or (folder.path / "theirs").exists():
            continue
        put_back += THEIRS not in (folder.content() or b"")
        _recover(folder.file)
        assert folder.content() in {LONG_TERM + THEIRS, commit.after}
        assert names_in(folder.path) == {"credentials"}
    assert put_back


@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "from then on"])
def test_when_any_call_fails_an_edit_that_had_just_lost_its_name_gets_it_back(
    *, is_lasting: bool, tmp_path: Path
) -> None:
    commit = BESIDE_A_RENAME
    calls = calls_of(partial(commit.make, Folder(tmp_path, commit).file))

    for at, _ in enumerate(calls):
        folder = Folder(tmp_path, commit)
        _their_mark(folder.file).unlink(missing_ok=True)
        with Calls(partial(fail, errno.EIO), at, is_lasting=is_lasting).watched():
            _refusal(commit, folder)
        if not _their_mark(folder.file).exists() or (folder.path / "theirs").exists():
            continue
        _recover(folder.file)
        assert folder.content() in {LONG_TERM + THEIRS, commit.after}
        assert names_in(folder.path) == {"credentials"}


class Crashed:
    """Makes the folder in which an edit has lost its name to our file and nobody tidied up yet."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        calls = calls_of(partial(BESIDE_A_RENAME.make, Folder(parent, BESIDE_A_RENAME).file))
        self._after_exchange = calls.index("renameat2") + 1

    def __call__(self) -> Folder:
        folder = Folder(self._parent, BESIDE_A_RENAME)
        _their_mark(folder.file).unlink(missing_ok=True)
        kill_at(partial(BESIDE_A_RENAME.make, folder.file), self._after_exchange)
        assert folder.content() == NEW
        return folder


def test_killed_at_any_call_of_tidying_up_the_next_start_goes_on_with_it(tmp_path: Path) -> None:
    crashed = Crashed(tmp_path)
    recover = calls_of(partial(_recover, crashed().file))
    assert "renameat2" in recover

    for at, _ in enumerate(recover):
        folder = crashed()
        kill_at(partial(_recover, folder.file), at)
        _recover(folder.file)
        assert folder.content() == LONG_TERM + THEIRS
        assert names_in(folder.path) == {"credentials"}


def test_an_edit_that_can_not_get_its_name_back_is_kept_beside_the_file(tmp_path: Path) -> None:
    crashed = Crashed(tmp_path)
    newer = NEW + b"# written after the crash\n"

    def written_since() -> Folder:
        folder = crashed()
        folder.file.write_bytes(newer)
        return folder

    for at, _ in enumerate(calls_of(partial(_recover, written_since().file))):
        folder = written_since()
        kill_at(partial(_recover, folder.file), at)
        _recover(folder.file)
        assert folder.content() == newer
        (kept,) = folder.path.glob("credentials.assumed-conflict-*")
        assert kept.read_bytes() == LONG_TERM + THEIRS
        assert names_in(folder.path) == {"credentials", kept.name}


# From outside: strace puts the fault at the border of the kernel

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


def _traced(folder: Folder, *injected: str) -> tuple[int, str, list[str]]:
    """Commit under strace; returns its status, what it said, and its calls."""
    log = folder.path.with_suffix(".strace")
    companions = ("", "credentials", ".credentials.assumed-lock", ".credentials.assumed-new")
    done = subprocess.run(  # noqa: S603
        [
            shutil.which("strace") or "strace",
            *("-f", "-o", log, "-e", f"trace={_CHANGING}"),
            *(argument for name in companions for argument in ("-P", folder.path / name)),
            *(argument for rule in injected for argument in ("-e", f"inject={rule}")),
            *(sys.executable, "-c", _SCRIPT, folder.file),
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
def test_under_strace_the_file_is_old_or_new_whatever_call_is_hit(how: str, tmp_path: Path) -> None:
    commit = COMMITS["replace"]
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    status, said, calls = _traced(Folder(tmp_path, commit))
    if not calls:
        pytest.skip(f"strace may not trace here: {said}")
    assert (status, said) == (0, "")
    assert {"pwrite64", "fsync", "renameat2", "unlink"} <= set(calls)

    def check(number: int) -> None:
        parent = tmp_path / str(number)
        parent.mkdir()
        folder = Folder(parent, commit)
        name = calls[number]
        when = calls[: number + 1].count(name)
        status, said, _ = _traced(folder, f"{name}:{how}:when={when}")
        if how == "signal=KILL":
            assert status == -signal.SIGKILL
        else:
            assert (status, bool(said)) in {(0, False), (1, True)}, said
            assert "Traceback" not in said
        folder.check_whole()
        folder.check_healed()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, range(len(calls))))
