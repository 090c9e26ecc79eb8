"""The walk of a path, and which users and groups are trusted, on a real file system."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from assumed import path_trust
from assumed.path_trust import TrustedUser, open_trusted, untrusted_component, walk

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
STRANGER = 12_345
# Source: linux/posix_acl_xattr.h.
OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


def packed(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def set_acl(path: Path, tag: int, identity: int, granted: int, *, mask: int = 7) -> None:
    """Let an access list grant permissions; skip the test where none can be stored."""
    none = 0xFFFFFFFF
    entries = [(OWNER, 7, none), (OWNING_GROUP, 5, none), (MASK, mask, none), (OTHERS, 5, none)]
    entries.append((tag, granted, identity))
    try:
        os.setxattr(path, "system.posix_acl_access", packed(*sorted(entries)))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("this file system has no access lists")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "directory"
    directory.mkdir(mode=0o755)
    return directory


def test_walk_yields_links_and_the_components_of_their_targets(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "link").symlink_to("a/../a/b")
    (tmp_path / "chain").symlink_to(tmp_path / "link")

    components = list(walk(tmp_path / "chain" / "file"))

    names = [str(part.path.relative_to(tmp_path)) for part in components if part.path > tmp_path]
    assert names == ["chain", "link", "a", "a", "a/b", "a/b/file"]
    assert [part.path.name for part in components if part.is_link] == ["chain", "link"]
    assert [part.is_last for part in components if part.path.name == "file"] == [True]


def test_walk_ends_at_a_missing_component(tmp_path: Path) -> None:
    last = list(walk(tmp_path / "missing" / "file"))[-1]

    assert (last.path, last.status, last.is_last) == (tmp_path / "missing", None, False)


def test_walk_gives_up_after_too_many_links(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(OSError, match="links"):
        list(walk(tmp_path / "loop"))


def test_walk_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208

    for component in walk(tmp_path / "file"):
        if component.path == tmp_path:
            break
    del component
    list(walk(tmp_path))

    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


@as_root
@pytest.mark.parametrize("is_root", [True, False])
def test_a_link_or_directory_of_another_user_is_not_trusted(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, is_root: bool
) -> None:
    if not is_root:
        monkeypatch.setattr(TrustedUser, "current", lambda: TrustedUser(4321, 4321))
    file, link = directory / "file", directory / "link"
    file.touch()
    link.symlink_to(file)
    assert untrusted_component(link) is None
    os.chown(link, STRANGER, -1, follow_symlinks=False)
    found = untrusted_component(link)
    assert found is not None
    assert (found.path, found.owner) == (link, STRANGER)
    assert untrusted_component(file) is None
    os.chown(directory, STRANGER, -1)
    found = untrusted_component(directory / "missing")
    assert found is not None
    assert (found.path, found.owner) == (directory, STRANGER)


def test_a_directory_that_everyone_can_write_is_trusted_only_if_sticky(directory: Path) -> None:
    file = directory / "file"
    file.touch()
    directory.chmod(0o777)
    found = untrusted_component(file)
    assert found is not None
    assert (found.path, found.reason) == (directory, "is writable by everyone")
    directory.chmod(0o1777)
    assert untrusted_component(file) is None


@as_root
def test_root_does_not_create_in_a_sticky_directory_except_for_a_log(directory: Path) -> None:
    directory.chmod(0o1777)
    for path in (directory / "file", directory / "missing" / "file"):
        found = untrusted_component(path)
        assert found is not None
        assert "another user could create it" in found.reason
    os.close(open_trusted(directory / "log", os.O_WRONLY | os.O_CREAT, 0o600))
    with pytest.raises(PermissionError, match="another user could create it"):
        open_trusted(directory / "missing" / "log", os.O_WRONLY | os.O_CREAT, 0o600)


@as_root
def test_root_trusts_no_group_but_its_own(directory: Path) -> None:
    directory.chmod(0o775)
    assert untrusted_component(directory / "file") is None
    os.chown(directory, -1, STRANGER)
    found = untrusted_component(directory / "file")
    assert found is not None
    assert (found.path, found.reason) == (directory, "is writable by its group")


def test_a_group_is_trusted_if_it_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    user = TrustedUser(1000, 1000)
    members: list[str] = []
    others: list[SimpleNamespace] = [SimpleNamespace(pw_uid=1000, pw_gid=1000)]
    names = {"jane": 1000, "mallory": 1001}
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_mem=members))
    monkeypatch.setattr(pwd, "getpwall", lambda: others)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=names[name]))

    assert user.trusts_group(0)
    assert user.trusts_group(1000)
    assert not user.trusts_group(27)
    members.append("jane")
    assert user.trusts_group(1000)
    members.append("mallory")
    assert not user.trusts_group(1000)
    members[:] = ["deleted"]
    assert not user.trusts_group(1000), "the name may come back"
    members.clear()
    others.append(SimpleNamespace(pw_uid=1001, pw_gid=1000))
    assert not user.trusts_group(1000), "it is the primary group of another user"


@pytest.mark.parametrize(
    ("entry", "mask", "writer"),
    [
        ((USER, STRANGER, 7), 7, f"uid {STRANGER} (ACL)"),
        ((GROUP, STRANGER, 7), 7, f"group {STRANGER} (ACL)"),
        ((USER, STRANGER, 5), 7, None),
        ((USER, STRANGER, 7), 5, None),
        ((USER, os.geteuid(), 7), 7, None),
        ((GROUP, 0, 7), 7, None),
    ],
)
def test_other_writers_include_those_of_the_access_list(
    directory: Path, entry: tuple[int, int, int], mask: int, writer: str | None
) -> None:
    set_acl(directory, *entry, mask=mask)

    assert TrustedUser.current().other_writers(directory, directory.stat()) == writer


def test_the_overflow_user_is_known_only_in_a_user_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"/proc/self/uid_map": "0 0 4294967295", "/proc/sys/kernel/overflowuid": "65534"}
    monkeypatch.setattr(path_trust, "_read_words", words.__getitem__)
    assert not path_trust.in_user_namespace()
    assert not path_trust.is_overflow_user(65534)
    words["/proc/self/uid_map"] = "1000 1000 1"
    assert path_trust.in_user_namespace()
    assert path_trust.is_overflow_user(65534)
    assert not path_trust.is_overflow_user(1000)
