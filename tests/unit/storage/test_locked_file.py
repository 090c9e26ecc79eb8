"""Edits of the AWS config file: its mode stays, and its first original is kept once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from assumed.errors import CredentialsFileUnwritableError
from assumed.storage import LockedFile, atomic_replace
from tests.credentials_files import mode

OLD, NEW = b"[profile dev]\r\nregion = a", b"[profile dev]\r\nregion = b"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(OLD)
    path.chmod(0o644)
    return path


def shared(path: Path) -> LockedFile:
    return LockedFile(path, is_private=False, sleep=lambda seconds: None)


def original(path: Path) -> Path:
    return path.with_name("config.assumed-original")


def test_an_edit_keeps_the_mode_and_the_first_original(path: Path) -> None:
    shared(path).edit_with_backup(lambda data: data.replace(b"= a", b"= b"))
    assert (path.read_bytes(), mode(path)) == (NEW, 0o644)
    assert (original(path).read_bytes(), mode(original(path))) == (OLD, 0o600)
    shared(path).edit_with_backup(lambda data: data + b"\r\n")
    assert original(path).read_bytes() == OLD
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {"config", "config.assumed-original", ".config.assumed-lock"}


def test_an_edit_that_changes_nothing_keeps_no_original(path: Path) -> None:
    before = path.stat()
    shared(path).edit_with_backup(lambda data: data)
    assert path.stat().st_ino == before.st_ino
    assert not original(path).exists()


def test_a_private_file_gets_mode_0600(path: Path) -> None:
    LockedFile(path, sleep=lambda seconds: None).edit(lambda data: NEW)
    assert (path.read_bytes(), mode(path)) == (NEW, 0o600)


def test_the_file_behind_a_link_is_edited_and_the_link_stays(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    shared(link).edit(lambda data: NEW)
    assert link.is_symlink()
    assert path.read_bytes() == NEW


def test_a_mount_point_is_edited_in_place_although_others_can_read_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(one: Path, other: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(atomic_replace, "exchange", refuse)
    inode = path.stat().st_ino
    shared(path).edit_with_backup(lambda data: NEW)
    assert (path.read_bytes(), mode(path), path.stat().st_ino) == (NEW, 0o644, inode)
    assert original(path).read_bytes() == OLD


def test_a_backup_that_cannot_be_written_leaves_the_file_as_it_was(path: Path) -> None:
    path.with_name(".config.assumed-new-original").mkdir()
    with pytest.raises(CredentialsFileUnwritableError, match="write the backup"):
        shared(path).edit_with_backup(lambda data: NEW)
    assert path.read_bytes() == OLD


def test_read_returns_the_content_or_nothing(path: Path) -> None:
    assert shared(path).read() == OLD
    path.unlink()
    assert shared(path).read() == b""
