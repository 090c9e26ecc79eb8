"""Private files and directories, on a real file system."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assumed import fsutil
from assumed.path_trust import UntrustedPathError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

OTHER_UID = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Let no umask hide a mode that is too wide."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Return a file that a symbolic link could lead to."""
    path = tmp_path / "precious"
    path.write_text("precious")
    return path


def test_create_directory_makes_it_private_and_its_parents_default(tmp_path: Path) -> None:
    fsutil.create_directory(tmp_path / "a" / "b")

    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o777, 0o700)


def test_create_directory_keeps_the_mode_of_one_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()

    fsutil.create_directory(path)

    assert mode(path) == 0o777
    with pytest.raises(FileExistsError):
        fsutil.create_directory(path, exist_ok=False)


def test_create_private_parents_makes_each_missing_one_private(tmp_path: Path) -> None:
    fsutil.create_private_parents(tmp_path / "a" / "b" / "file")

    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("found", [0o777, 0o750, 0o500, 0o700])
def test_ensure_private_directory_sets_the_mode_of_one_that_exists(
    tmp_path: Path, found: int
) -> None:
    path = tmp_path / "a"
    path.mkdir()
    path.chmod(found)

    fsutil.ensure_private_directory(path)

    assert mode(path) == 0o700


def test_ensure_private_directory_rejects_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)

    with pytest.raises(fsutil.ForeignDirectoryError, match="link"):
        fsutil.ensure_private_directory(link)

    assert mode(target) == 0o777


@as_root
def test_ensure_private_directory_rejects_another_users(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    os.chown(path, OTHER_UID, OTHER_UID)

    with pytest.raises(UntrustedPathError, match="belongs to nobody"):
        fsutil.ensure_private_directory(path)

    assert mode(path) == 0o777


def test_create_file_is_private_and_replaces_nothing(tmp_path: Path, precious: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    os.close(fsutil.create_file(path))
    link.symlink_to(tmp_path / "nowhere")

    assert mode(path) == 0o600
    for taken in (path, link, precious):
        with pytest.raises(FileExistsError):
            fsutil.create_file(taken)
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_open_or_create_opens_the_same_file_twice(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in (b"a", b"b"):
        descriptor = fsutil.open_or_create(path)
        os.write(descriptor, text)
        os.close(descriptor)

    assert path.read_bytes() == b"b"
    assert mode(path) == 0o600


@pytest.mark.parametrize("open_", [fsutil.open_or_create, fsutil.open_regular])
def test_no_symbolic_link_is_followed(
    tmp_path: Path, precious: Path, open_: Callable[[Path], int]
) -> None:
    link = tmp_path / "link"
    link.symlink_to(precious)

    with pytest.raises(OSError) as caught:
        open_(link)

    assert caught.value.errno == errno.ELOOP


def test_open_regular_rejects_a_fifo_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    with pytest.raises(fsutil.NotRegularFileError):
        fsutil.open_regular(path)
    with pytest.raises(fsutil.NotRegularFileError):
        fsutil.open_regular(tmp_path)


def test_open_regular_reads_and_does_not_create(tmp_path: Path, precious: Path) -> None:
    descriptor = fsutil.open_regular(precious)
    assert os.read(descriptor, 100) == b"precious"
    os.close(descriptor)

    with pytest.raises(FileNotFoundError):
        fsutil.open_regular(tmp_path / "missing")


def test_no_descriptor_outlives_an_exec(tmp_path: Path, precious: Path) -> None:
    for descriptor in (
        fsutil.create_file(tmp_path / "new"),
        fsutil.open_or_create(tmp_path / "lock"),
        fsutil.open_regular(precious),
    ):
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


def test_open_private_log_creates_it_and_keeps_one_that_exists(
    tmp_path: Path, precious: Path
) -> None:
    os.close(fsutil.open_private_log(tmp_path / "log"))
    os.close(fsutil.open_private_log(precious))

    assert mode(tmp_path / "log") == 0o600
    assert (precious.read_text(), mode(precious)) == ("precious", 0o666)


def test_open_private_log_follows_a_link_of_ours(tmp_path: Path, precious: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(precious)

    os.close(fsutil.open_private_log(link))

    assert precious.read_text() == "precious"


@as_root
def test_open_private_log_rejects_another_users_link(tmp_path: Path, precious: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(precious)
    os.chown(link, OTHER_UID, OTHER_UID, follow_symlinks=False)

    with pytest.raises(PermissionError, match="a symbolic link that belongs to nobody"):
        fsutil.open_private_log(link)


def test_open_private_log_rejects_a_device() -> None:
    with pytest.raises(PermissionError, match="not a regular file"):
        fsutil.open_private_log(Path("/dev/null"))


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("wanted", [0o600, 0o644])
def test_replace_file_sets_content_and_mode_and_leaves_nothing_else(
    tmp_path: Path, wanted: int, *, unique: bool
) -> None:
    os.umask(0o077)
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o666)
    before = path.stat().st_ino

    fsutil.replace_file(path, b"new", mode=wanted, unique=unique, sync=True)

    assert (path.read_bytes(), mode(path)) == (b"new", wanted)
    assert path.stat().st_ino != before, "not in place: a reader could see half of it"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_replace_file_removes_what_a_killed_process_left(tmp_path: Path, precious: Path) -> None:
    path, left_over = tmp_path / "file", tmp_path / ".file.new"
    left_over.symlink_to(precious)

    fsutil.replace_file(path, b"new")

    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    assert precious.read_text() == "precious"
    assert not left_over.is_symlink()


@pytest.mark.parametrize("unique", [False, True])
def test_replace_file_that_fails_keeps_the_old_one(tmp_path: Path, *, unique: bool) -> None:
    path = tmp_path / "directory"
    path.mkdir()

    with pytest.raises(IsADirectoryError):
        fsutil.replace_file(path, b"new", unique=unique)

    assert [entry.name for entry in tmp_path.iterdir()] == ["directory"]


def test_write_new_file_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)

    with pytest.raises(OSError, match="No space"):
        fsutil.write_new_file(tmp_path / "file", b"data")

    assert list(tmp_path.iterdir()) == []


def test_write_all_goes_on_after_a_short_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:2], at))
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDWR)

    fsutil.write_all(descriptor, b"abcde", offset=1)

    os.close(descriptor)
    assert path.read_bytes() == b"0abcde6789"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_read_file_rejects_a_fifo_and_a_directory_at_once(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "file")
    with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
        fsutil.read_file(tmp_path / "file", max_bytes=9)
    with pytest.raises(fsutil.NotRegularFileError):
        fsutil.require_readable(tmp_path / "file", max_bytes=9)


def test_read_file_follows_a_link_and_takes_dev_null_for_an_empty_file(precious: Path) -> None:
    link = precious.with_name("link")
    link.symlink_to(precious)
    assert fsutil.read_file(link, max_bytes=8) == b"precious"
    assert fsutil.read_file(Path(os.devnull), max_bytes=8) == b""
    with pytest.raises(fsutil.NotRegularFileError):
        fsutil.read_file(Path("/dev/zero"), max_bytes=8)


def test_read_file_rejects_a_file_that_is_too_large(precious: Path) -> None:
    with pytest.raises(fsutil.FileTooLargeError):
        fsutil.read_file(precious, max_bytes=7)
    with pytest.raises(fsutil.FileTooLargeError):
        fsutil.require_readable(precious, max_bytes=7)
    fsutil.require_readable(precious.with_name("missing"), max_bytes=7)


def test_a_denied_file_of_another_user_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "credentials"
    path.touch()
    denied = PermissionError(errno.EACCES, "Permission denied", str(path))
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid)
    assert fsutil.local_fault_hint(denied) == "make it readable for this user"
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    hint = fsutil.local_fault_hint(denied)
    assert hint.startswith(f"it belongs to {path.owner()}")
    assert hint.endswith(f": `sudo chown 54321 {path}`")
    assert ("because a command ran with sudo" in hint) is (path.owner() == "root")
