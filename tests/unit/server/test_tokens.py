from __future__ import annotations

import os
from pathlib import Path

import pytest

from assumed.server.tokens import TokenStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_the_token_of_a_profile_is_in_a_private_file(directory: Path) -> None:
    store = TokenStore(directory)
    assert store.get("a/b") is None
    path = store.path("a/b")
    assert path.parent == directory
    assert path.read_bytes() == store.get("a/b")
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert store.path("a/b").read_bytes() == store.get("a/b"), "the same, while it is there"


def test_two_profiles_have_two_tokens(directory: Path) -> None:
    store = TokenStore(directory)
    assert store.path("a").read_bytes() != store.path("b").read_bytes()


def test_a_token_file_that_is_gone_is_created_with_another_token(directory: Path) -> None:
    store = TokenStore(directory)
    before = store.path("deploy").read_bytes()
    store.path("deploy").unlink()
    assert store.path("deploy").read_bytes() == store.get("deploy") != before


def test_the_files_of_an_earlier_process_get_other_tokens(directory: Path) -> None:
    path = TokenStore(directory).path("a/b")
    before = path.read_bytes()
    (directory / "unrelated").write_bytes(b"x")
    store = TokenStore(directory)
    assert store.get("a/b") == path.read_bytes() != before
    assert store.get("unrelated") is None
    assert (directory / "unrelated").read_bytes() == b"x"


def test_restore_writes_missing_files_with_the_tokens_that_they_had(directory: Path) -> None:
    store = TokenStore(directory)
    gone, kept = store.path("gone"), store.path("kept")
    tokens, inode = [gone.read_bytes(), kept.read_bytes()], kept.stat().st_ino
    gone.unlink()
    store.restore()
    assert [gone.read_bytes(), kept.read_bytes()] == tokens
    assert kept.stat().st_ino == inode, "written again"
    gone.unlink()
    kept.unlink()
    directory.rmdir()
    store.restore()
    assert [gone.read_bytes(), kept.read_bytes()] == tokens


def kept(directory: Path) -> bytes | None:
    return TokenStore(directory, keeps_tokens=True).get("deploy")


def test_a_process_that_keeps_the_port_keeps_the_tokens(directory: Path) -> None:
    path = TokenStore(directory).path("deploy")
    before = path.read_bytes()
    assert kept(directory) == path.read_bytes() == before


@pytest.mark.parametrize("change", ["mode", "link", "second name", "fifo", "short", "newline"])
def test_a_file_that_no_token_store_has_written_is_not_kept(directory: Path, change: str) -> None:
    path = TokenStore(directory).path("deploy")
    token = path.read_bytes()
    other = directory / "other"
    match change:
        case "mode":
            path.chmod(0o640)
        case "link":
            path.rename(other)
            path.symlink_to(other)
        case "second name":
            other.hardlink_to(path)
        case "fifo":
            path.unlink()
            os.mkfifo(path, 0o600)
        case "short":
            path.write_bytes(token[:-1])
        case "newline":
            path.write_bytes(token + b"\n")
    assert kept(directory) == path.read_bytes() != token
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.is_symlink()
