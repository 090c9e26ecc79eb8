"""The credentials file on a real file system: every special case of docs/credentials-file.md."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assumed.errors import (
    AlreadyRunningError,
    CredentialsFileMalformedError,
    CredentialsFileUnwritableError,
    ProfileAmbiguousError,
    ProfileNotManagedError,
)
from assumed.logs import event_fields
from assumed.models import WriteMode
from assumed.storage import CredentialsFile, atomic_replace, in_place, reader, renameat2
from assumed.storage.lease import LeaseKind, LeaseState
from tests.credentials_files import (
    LONG_TERM,
    OTHER_UID,
    SECRETS,
    as_botocore_reads,
    as_other_user,
    credentials,
    mode,
    names_in,
    section,
    written,
)
from tests.repository import REPOSITORY

TABLE = REPOSITORY / "docs" / "credentials-file.md"
LEASES = hasattr(fcntl, "F_SETLEASE")

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
only_with_leases = pytest.mark.skipif(not LEASES, reason="this system has no leases")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "aws" / "credentials"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(LONG_TERM)
    path.chmod(0o600)
    return path


@pytest.fixture
def other_users_directory() -> Iterator[Path]:
    """Yield a directory of another user if root runs the tests; only root can enter pytest's."""
    directory = Path(tempfile.mkdtemp())
    try:
        if os.geteuid() == 0:
            os.chown(directory, OTHER_UID, OTHER_UID)
        yield directory
    finally:
        directory.chmod(0o700)
        shutil.rmtree(directory)


def write(path: Path, profile: str = "deploy", number: int = 0) -> None:
    CredentialsFile(path).write(profile, credentials(number)).result()


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# Reading and writing


def test_read_returns_what_was_written(file: Path) -> None:
    store = CredentialsFile(file)
    store.write("deploy", credentials()).result()

    profiles = store.read()

    assert list(profiles) == ["default", "deploy"]
    assert profiles["deploy"].credentials() == credentials()
    assert profiles["deploy"].is_managed
    assert profiles["deploy"].account_id == "222222222222"
    assert profiles["default"].is_long_term
    assert profiles["default"].credentials() is None
    assert not any(secret in repr(profiles) for secret in SECRETS)
    assert file.read_bytes() == LONG_TERM + section("deploy")


def test_read_of_a_missing_file_is_empty_and_creates_nothing(tmp_path: Path) -> None:
    store = CredentialsFile(tmp_path / "aws" / "credentials")

    assert store.read() == {}
    assert store.remove() == ()
    assert not store.exists()
    store.recover()
    assert list(tmp_path.iterdir()) == []


def test_write_of_the_same_credentials_leaves_the_file_alone(file: Path) -> None:
    write(file)
    before = file.stat()

    write(file)

    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_own_last_write_differs_after_another_program_writes(file: Path) -> None:
    store = CredentialsFile(file)
    assert store.own_last_write != store.signature()

    store.write("deploy", credentials()).result()
    assert store.own_last_write == store.signature()

    file.write_bytes(file.read_bytes() + b"[other]\n")
    assert store.own_last_write != store.signature()


def test_remove_returns_the_profiles_with_removed_keys(file: Path) -> None:
    store = CredentialsFile(file)
    store.write("deploy", credentials()).result()
    store.write("second", credentials()).result()

    assert store.remove(["deploy", "default", "unknown"]) == ("deploy",)
    assert store.remove() == ("second",)
    assert file.read_bytes() == LONG_TERM


def test_remove_raises_for_a_rejected_profile_after_removing_the_others(file: Path) -> None:
    store = CredentialsFile(file)
    store.write("second", credentials()).result()
    store.write("deploy", credentials()).result()
    mark = b"manager = assumed\n"
    file.write_bytes(file.read_bytes().removesuffix(mark) + b"  continued = x\n" + mark)

    with pytest.raises(ProfileAmbiguousError, match="profile deploy"):
        store.remove()

    assert list(as_botocore_reads(file)) == ["default", "deploy"]


@pytest.mark.parametrize("profiles", [None, ["default"]], ids=["all", "named"])
def test_remove_leaves_a_file_without_managed_profiles_alone(
    file: Path, profiles: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(0o644)
    before = file.stat()

    assert CredentialsFile(file).remove(profiles) == ()

    after = file.stat()
    assert (after.st_mode, after.st_ctime_ns) == (before.st_mode, before.st_ctime_ns)
    assert file.read_bytes() == LONG_TERM
    assert [path.name for path in file.parent.iterdir()] == ["credentials"], "not even a lock"
    assert events(caplog) == []


def test_remove_makes_a_file_private_that_it_changes(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(file)
    file.chmod(0o644)

    assert CredentialsFile(file).remove() == ("deploy",)

    assert mode(file) == 0o600
    assert events(caplog) == ["credentials_file_permissions_tightened"]


def test_write_rejects_a_profile_with_long_term_keys_and_hints_at_overwrite(file: Path) -> None:
    before = file.stat()

    with pytest.raises(ProfileNotManagedError) as caught:
        write(file, "default")

    assert "overwrite: true" in caught.value.hint
    assert (file.stat().st_ino, file.read_bytes()) == (before.st_ino, LONG_TERM)


def test_write_leaves_a_malformed_file_alone(file: Path) -> None:
    file.write_bytes(LONG_TERM + b"AKIA\n")
    before = file.stat()

    with pytest.raises(CredentialsFileMalformedError, match=re.escape(f"{file}:5: ")):
        write(file)

    assert (file.stat().st_ino, file.read_bytes()) == (before.st_ino, LONG_TERM + b"AKIA\n")
    assert names_in(file.parent) == {"credentials"}


def test_write_after_close_fails(file: Path) -> None:
    store = CredentialsFile(file)
    store.close()

    with pytest.raises(CredentialsFileUnwritableError, match="stopping"):
        store.write("deploy", credentials()).result()

    assert file.read_bytes() == LONG_TERM


def test_write_backs_up_replaced_long_term_keys_once_and_never_overwrites_the_backup(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CredentialsFile(file)
    backup = file.parent / "credentials.assumed-backup"
    keys = LONG_TERM.removeprefix(b"# mine\n")

    store.write("default", credentials(), overwrite=True).result()
    assert backup.read_bytes() == keys
    assert mode(backup) == 0o600

    store.write("default", credentials(1), overwrite=True).result()
    file.write_bytes(LONG_TERM)
    store.write("default", credentials(2), overwrite=True).result()
    assert backup.read_bytes() == keys, "the same keys are not saved twice"

    file.write_bytes(LONG_TERM.replace(b"the/only/copy", b"another"))
    store.write("default", credentials(3), overwrite=True).result()
    other = keys.replace(b"the/only/copy", b"another").replace(b"[default]", b"[default 2]")
    assert backup.read_bytes() == keys + other
    assert events(caplog).count("long_term_keys_backed_up") == 2
    assert not any(secret in caplog.text for secret in SECRETS)


def test_write_keeps_long_term_keys_if_the_backup_fails(file: Path) -> None:
    (file.parent / "credentials.assumed-backup").mkdir()

    with pytest.raises(CredentialsFileUnwritableError, match="assumed-backup"):
        CredentialsFile(file).write("default", credentials(), overwrite=True).result()

    assert file.read_bytes() == LONG_TERM


# Concurrent writes


def test_concurrent_refreshes_share_two_writes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrites = []
    exchange = renameat2.exchange

    def count(one: Path, other: Path) -> None:
        rewrites.append(other)
        exchange(one, other)

    monkeypatch.setattr(atomic_replace, "exchange", count)
    all_submitted = threading.Event()

    def sleep(seconds: float) -> None:
        # The first write finds the lock taken, and gets it once all others are submitted.
        assert all_submitted.wait(60)
        if lock >= 0:
            fcntl.flock(lock, fcntl.LOCK_UN)

    store = CredentialsFile(file, sleep=sleep)
    lock = os.open(file.parent / ".credentials.assumed-lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    writes = [store.write("p0", credentials(0))]
    while store._batch_writer._waiting:
        os.sched_yield()
    writes += [store.write(f"p{number}", credentials(number)) for number in range(1, 30)]
    all_submitted.set()
    assert [write.exception(60) for write in writes] == [None] * 30
    os.close(lock)

    assert len(rewrites) == 2
    found = as_botocore_reads(file)
    assert {name: found[name] for name in found if name != "default"} == {
        f"p{number}": written(number) for number in range(30)
    }


def _write_ten(path: Path, name: str) -> None:
    store = CredentialsFile(path)
    for number in range(10):
        store.write(f"{name}-{number}", credentials(number)).result()


def test_concurrent_processes_lose_no_write(file: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_write_ten, args=(file, name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert file.read_bytes().startswith(LONG_TERM)
    assert set(as_botocore_reads(file)) == {
        "default",
        *(f"{name}-{number}" for name in "abc" for number in range(10)),
    }
    assert names_in(file.parent) == {"credentials"}


def test_write_names_the_lock_that_another_process_never_releases(file: Path) -> None:
    lock = file.parent / ".credentials.assumed-lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(CredentialsFileUnwritableError) as caught:
            CredentialsFile(file, sleep=lambda _: None).write("deploy", credentials()).result()
    finally:
        os.close(descriptor)

    assert caught.value.hint == f"find the process: `fuser -v {lock}`"
    assert file.read_bytes() == LONG_TERM


def test_write_changes_one_of_five_thousand_sections(file: Path) -> None:
    others = b"".join(section(f"team-{number}", number % 10) for number in range(5000))
    file.write_bytes(LONG_TERM + others)
    store = CredentialsFile(file)

    store.write("team-2500", credentials(7)).result()

    assert file.read_bytes() == LONG_TERM + others.replace(
        section("team-2500", 0), section("team-2500", 7)
    )
    assert len(store.read()) == 5001


# The lock of a daemon


def test_daemon_lock_names_the_pid_and_configuration_of_its_holder(file: Path) -> None:
    store = CredentialsFile(file)

    with (
        store.acquire_daemon_lock("/home/kim/assumed.yaml"),
        pytest.raises(AlreadyRunningError) as caught,
    ):
        store.acquire_daemon_lock("/tmp/second.yaml")  # noqa: S108 -- no file is made of it

    assert f"pid {os.getpid()}" in caught.value.message
    assert "configuration /home/kim/assumed.yaml" in caught.value.message
    store.acquire_daemon_lock("/tmp/second.yaml").release()  # noqa: S108


def test_daemon_lock_of_a_killed_process_is_free(file: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from assumed.storage import CredentialsFile\n"
        "lock = CredentialsFile(Path(sys.argv[1])).acquire_daemon_lock('x')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    daemon = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"held\n"
        store = CredentialsFile(file)
        with pytest.raises(AlreadyRunningError, match=f"pid {daemon.pid} "):
            store.acquire_daemon_lock("y")
        daemon.send_signal(signal.SIGKILL)

    with store.acquire_daemon_lock("y"):
        content = json.loads((file.parent / ".credentials.assumed-daemon").read_text())
    assert content == {"pid": os.getpid(), "config": "y"}


def test_write_rejects_a_lock_file_that_is_a_symbolic_link(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (file.parent / ".credentials.assumed-lock").symlink_to(target)

    with pytest.raises(CredentialsFileUnwritableError, match="assumed-lock"):
        write(file)

    assert target.read_text() == "precious"
    assert file.read_bytes() == LONG_TERM


# Permissions


def test_write_creates_a_private_directory_and_file(tmp_path: Path) -> None:
    path = tmp_path / ".aws" / "credentials"

    write(path)

    assert path.read_bytes() == section("deploy")
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)


@pytest.mark.parametrize("found", [0o644, 0o660, 0o604])
def test_write_makes_a_shared_file_private_with_a_warning(
    file: Path, found: int, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(found)

    write(file)
    write(file, number=1)

    assert mode(file) == 0o600
    warnings = [
        event_fields(record)["old_mode"]
        for record in caplog.records
        if record.getMessage() == "credentials_file_permissions_tightened"
    ]
    assert warnings == [f"{found:04o}"]


def test_write_makes_a_file_private_even_if_it_fails(file: Path) -> None:
    file.write_bytes(b"no section\n")
    file.chmod(0o644)

    with pytest.raises(CredentialsFileMalformedError):
        write(file)

    assert mode(file) == 0o600


@only_root
def test_write_as_root_rejects_the_file_of_a_user(file: Path) -> None:
    os.chown(file, OTHER_UID, 12345)
    before = file.stat()

    with pytest.raises(CredentialsFileUnwritableError) as caught:
        write(file)

    assert caught.value.message == (
        f"{file} is not written, because another user could redirect it: {file} belongs to nobody "
        f"(uid {OTHER_UID})"
    )
    assert "`sudo -u nobody assumed …`" in caught.value.hint
    assert "`assumed service install --system nobody`" in caught.value.hint
    assert file.stat() == before
    assert names_in(file.parent) == {"credentials"}


@only_root
def test_write_as_root_creates_nothing_in_the_directory_of_a_user(
    other_users_directory: Path,
) -> None:
    store = CredentialsFile(other_users_directory / "credentials")

    for attempt in (
        lambda: write(store.path),
        lambda: write(store.path.parent / "aws" / "credentials"),
        lambda: store.acquire_daemon_lock("config.yaml"),
    ):
        with pytest.raises(CredentialsFileUnwritableError, match="belongs to nobody"):
            attempt()

    assert list(other_users_directory.iterdir()) == []


@only_root
def test_write_rejects_another_users_link_or_directory() -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        own = directory / "own"
        own.mkdir(mode=0o700)
        (own / "credentials").write_bytes(LONG_TERM)
        (own / "credentials").chmod(0o644)
        theirs = directory / "theirs"
        theirs.mkdir(mode=0o777)
        (theirs / "link").symlink_to(own / "credentials")
        for path in (own, own / "credentials"):
            os.chown(path, OTHER_UID, OTHER_UID)
        for path in (theirs, theirs / "link"):
            os.chown(path, 4321, 4321, follow_symlinks=False)
        (directory / "link").symlink_to(own / "credentials")
        os.chown(directory / "link", 4321, 4321, follow_symlinks=False)
        open_to_all = directory / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o777)
        with as_other_user():
            for path, reason in (
                (theirs / "credentials", "theirs belongs to uid 4321"),
                (theirs / "link", "theirs belongs to uid 4321"),
                (directory / "link", "link is a symbolic link that belongs to uid 4321"),
                (open_to_all / "credentials", "open is writable by everyone"),
            ):
                with pytest.raises(CredentialsFileUnwritableError, match=reason):
                    write(path)
            assert mode(own / "credentials") == 0o644
        open_to_all.chmod(0o1777)
        with as_other_user():
            write(open_to_all / "credentials")
            write(own / "credentials")
        assert (own / "credentials").read_bytes() == LONG_TERM + section("deploy")
        assert names_in(theirs) == {"link"}
    finally:
        shutil.rmtree(directory)


@only_root
@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (0o644, "run assumed as the owner of the file"),
        (0o600, "it belongs to root"),
    ],
)
def test_write_rejects_the_file_of_another_user(
    other_users_directory: Path, found: int, hint: str
) -> None:
    file = other_users_directory / "credentials"
    file.write_bytes(LONG_TERM)
    file.chmod(found)
    before = file.stat()

    with as_other_user(), pytest.raises(CredentialsFileUnwritableError) as caught:
        write(file)

    assert caught.value.hint.startswith(hint)
    assert (file.stat().st_ino, file.stat().st_uid, mode(file)) == (before.st_ino, 0, found)
    assert file.read_bytes() == LONG_TERM
    assert names_in(other_users_directory) == {"credentials"}


def test_write_keeps_extended_attributes(file: Path) -> None:
    try:
        os.setxattr(file, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has no extended attributes for users")

    write(file)

    assert os.getxattr(file, "user.note") == b"mine"


def test_write_keeps_an_acl_for_named_users_and_closes_it_for_the_group(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Source: acl(5): the owner, a user by name, the group, the mask, others.
    anyone = 0xFFFFFFFF
    entries = [
        (1, 6, anyone),
        (2, 4, OTHER_UID),
        (4, 4, anyone),
        (0x10, 4, anyone),
        (0x20, 0, anyone),
    ]

    def packed(group: int) -> bytes:
        return struct.pack("<I", 2) + b"".join(
            struct.pack("<HHI", tag, group if tag == 4 else permissions, identity)
            for tag, permissions, identity in entries
        )

    try:
        os.setxattr(file, "system.posix_acl_access", packed(4))
    except OSError:
        pytest.skip("this file system has no access lists")

    write(file)

    assert os.getxattr(file, "system.posix_acl_access") == packed(0)
    assert file.read_bytes() == LONG_TERM + section("deploy")


# Links


@pytest.mark.parametrize("links", [1, 2, 3])
def test_write_follows_symbolic_links_and_keeps_them(file: Path, links: int) -> None:
    home = file.parent.parent / "home"
    home.mkdir()
    names = [home / f"link-{number}" for number in range(links)]
    for name, target in zip(names, [*names[1:], Path("../aws/credentials")], strict=True):
        name.symlink_to(target)

    write(names[0])

    assert all(name.is_symlink() for name in names)
    assert not file.is_symlink()
    assert file.read_bytes() == LONG_TERM + section("deploy")
    assert names_in(home) == {name.name for name in names}, "the companions are beside the file"


def test_write_creates_the_missing_target_of_a_symbolic_link(tmp_path: Path) -> None:
    link, target = tmp_path / "credentials", tmp_path / "dotfiles" / "aws"
    link.symlink_to(target)

    write(link)

    assert link.is_symlink()
    assert target.read_bytes() == section("deploy")
    assert (mode(target.parent), mode(target)) == (0o700, 0o600)


def test_write_keeps_a_symbolic_link_to_the_directory(file: Path) -> None:
    link = file.parent.parent / ".aws"
    link.symlink_to(file.parent)

    write(link / "credentials")

    assert link.is_symlink()
    assert file.read_bytes() == LONG_TERM + section("deploy")


def test_write_rejects_a_symbolic_link_to_itself(tmp_path: Path) -> None:
    link = tmp_path / "credentials"
    link.symlink_to(link)

    with pytest.raises(CredentialsFileUnwritableError, match="a symbolic link that leads nowhere"):
        write(link)

    assert link.is_symlink()


def test_write_leaves_other_hard_links_alone_with_one_warning(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = file.parent / "other"
    other.hardlink_to(file)
    store = CredentialsFile(file)

    store.write("deploy", credentials()).result()
    assert other.read_bytes() == LONG_TERM
    assert file.read_bytes() == LONG_TERM + section("deploy")

    file.unlink()
    file.hardlink_to(other)
    store.write("deploy", credentials()).result()
    assert events(caplog).count("credentials_file_has_hard_links") == 1


def test_write_in_place_updates_all_hard_links(file: Path) -> None:
    other = file.parent / "other"
    other.hardlink_to(file)

    CredentialsFile(file, write=WriteMode.IN_PLACE).write("deploy", credentials()).result()

    assert file.samefile(other)
    assert other.read_bytes() == LONG_TERM + section("deploy")


# Not a regular file


def test_write_rejects_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    (path / "mine").mkdir(parents=True)
    path.chmod(0o755)

    for attempt in (lambda: write(path), lambda: CredentialsFile(path).read()):
        with pytest.raises(CredentialsFileUnwritableError, match="is a directory, not a file"):
            attempt()

    assert mode(path) == 0o755
    assert [found.name for found in tmp_path.iterdir()] == ["credentials"]


def test_write_rejects_a_fifo_in_place_of_the_file_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "credentials"
    os.mkfifo(path)

    for attempt in (lambda: write(path), lambda: CredentialsFile(path).read()):
        with pytest.raises(CredentialsFileUnwritableError, match="is a FIFO, not a file"):
            attempt()

    assert path.is_fifo()


@only_root
def test_write_rejects_a_device_in_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "null"
    try:
        # Not the one of the system, which a bug would break for every process.
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no device can be made here")
    path.chmod(0o666)

    for attempt in (lambda: write(path), lambda: CredentialsFile(path).read()):
        with pytest.raises(CredentialsFileUnwritableError, match="is a device, not a file"):
            attempt()

    assert mode(path) == 0o666
    assert [found.name for found in tmp_path.iterdir()] == ["null"]


def test_write_rejects_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "aws").write_text("mine")

    with pytest.raises(CredentialsFileUnwritableError, match="aws"):
        write(tmp_path / "aws" / "credentials")

    assert (tmp_path / "aws").read_text() == "mine"


# Errors of the system


def test_write_fails_until_the_directory_is_writable(
    other_users_directory: Path,
) -> None:
    file = other_users_directory / "credentials"
    with as_other_user():
        file.write_bytes(LONG_TERM)
        file.chmod(0o600)
        other_users_directory.chmod(0o500)
        store = CredentialsFile(file)

        with pytest.raises(CredentialsFileUnwritableError) as caught:
            store.write("deploy", credentials()).result()
        assert caught.value.hint.startswith("make the directory writable")
        assert file.read_bytes() == LONG_TERM
        assert list(store.read()) == ["default"]

        other_users_directory.chmod(0o700)
        store.write("deploy", credentials()).result()
        assert file.read_bytes() == LONG_TERM + section("deploy")


def test_write_replaces_a_read_only_file(file: Path) -> None:
    file.chmod(0o400)

    write(file)

    assert file.read_bytes() == LONG_TERM + section("deploy")
    assert mode(file) == 0o600


# Mounts, each in a separate mount namespace that ends with the process


@dataclass(frozen=True)
class Mounted:
    """The results of a process in a separate mount namespace."""

    results: dict[str, str]
    log: str


IN_NAMESPACE = """
import json, logging, os, sys
from contextlib import suppress
from pathlib import Path
from assumed.errors import AssumedError
from assumed.models import WriteMode
from assumed.storage import CredentialsFile
from tests.credentials_files import LONG_TERM, credentials, mode, names_in
logging.basicConfig(format="%(message)s", stream=sys.stderr)
directory = Path(sys.argv[1])
file = directory / "credentials"
results = {}
def attempt(mode=WriteMode.REPLACE):
    try:
        CredentialsFile(file, write=mode).write("deploy", credentials()).result()
    except AssumedError as error:
        return f"{error.message}; {error.hint}"
    return "written"
def fill():
    with (directory / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
"""
PRINT_RESULTS = "\nprint(json.dumps(results))\n"


def in_mount_namespace(directory: Path, mount: str, script: str) -> Mounted:
    """Run a script after a mount command; skip the test if no such namespace can be created."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    try:
        probe = subprocess.run(  # noqa: S603
            [*unshare, "sh", "-c", f'cd "$1" && {mount}', "sh", str(directory)],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if probe.returncode:
        pytest.skip("no mount namespace can be created here")
    done = subprocess.run(  # noqa: S603
        [
            *unshare,
            "sh",
            "-c",
            f'(cd "$1" && {mount}) && exec "$2" -c "$3" "$1"',
            "sh",
            str(directory),
            sys.executable,
            IN_NAMESPACE + script + PRINT_RESULTS,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Mounted(json.loads(done.stdout), done.stderr)


@pytest.mark.parametrize("write_mode", WriteMode)
def test_write_on_a_full_disk_keeps_the_old_file_until_there_is_space(
    tmp_path: Path, write_mode: WriteMode
) -> None:
    seen = in_mount_namespace(
        tmp_path,
        "mount -t tmpfs -o size=64k,mode=700 none .",
        f"mode_ = WriteMode('{write_mode.value}')\n"
        """
file = Path(os.path.realpath(sys.argv[1])) / "credentials"
file.write_bytes(LONG_TERM)
fill()
results["full"] = attempt(mode_)
results["kept"] = str(file.read_bytes() == LONG_TERM)
results["names"] = " ".join(sorted(names_in(file.parent)))
(directory / "filler").unlink()
results["retry"] = attempt(mode_)
results["mode"] = oct(mode(file))
""",
    )

    assert "No space left on device; free space on that file system" in seen.results.pop("full")
    assert seen.results == {
        "kept": "True",
        "names": "credentials filler",
        "retry": "written",
        "mode": "0o600",
    }


BIND = "touch mounted && mount --bind mounted credentials"


def test_write_overwrites_a_bind_mount_in_place_with_one_warning(file: Path) -> None:
    behind = file.parent / "mounted"
    behind.write_bytes(LONG_TERM)

    seen = in_mount_namespace(
        file.parent,
        BIND,
        """
inode = file.stat().st_ino
store = CredentialsFile(file)
for number in range(2):
    store.write("deploy", credentials(number)).result()
results["same"] = str(file.stat().st_ino == inode)
results["names"] = " ".join(sorted(names_in(directory)))
""",
    )

    assert seen.results == {"same": "True", "names": "credentials mounted"}
    assert seen.log.splitlines().count("credentials_file_is_a_mount_point") == 1
    assert behind.read_bytes() == LONG_TERM + section("deploy", 1)
    assert mode(behind) == 0o600
    assert file.read_bytes() == LONG_TERM, "the file below the mount"


def test_write_fails_on_a_read_only_mount(file: Path) -> None:
    seen = in_mount_namespace(
        file.parent,
        "mount --bind . . && mount -o remount,bind,ro .",
        "os.chdir(directory)\n"
        "results['refused'] = attempt()\n"
        "results['in place'] = attempt(WriteMode.IN_PLACE)\n"
        "results['read'] = ' '.join(CredentialsFile(file).read())\n",
    )

    assert seen.results.pop("read") == "default"
    assert all(
        "Read-only file system; mount it writable" in result for result in seen.results.values()
    )
    assert file.read_bytes() == LONG_TERM


# File systems and kernels without leases or exchange


def _no_lease(descriptor: int, kind: LeaseKind) -> LeaseState:
    return LeaseState.UNSUPPORTED


@pytest.fixture
def without_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader, atomic_replace):
        monkeypatch.setattr(module, "acquire_lease", _no_lease)


@pytest.fixture
def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renameat2, "_libc_renameat2", lambda: None)


@pytest.mark.usefixtures("without_leases")
@pytest.mark.parametrize("write_mode", WriteMode)
def test_write_without_leases_succeeds_with_one_warning(
    file: Path, write_mode: WriteMode, caplog: pytest.LogCaptureFixture
) -> None:
    store = CredentialsFile(file, write=write_mode)

    store.write("deploy", credentials()).result()
    store.write("deploy", credentials(1)).result()

    assert file.read_bytes() == LONG_TERM + section("deploy", 1)
    assert events(caplog).count("credentials_file_without_leases") == 1


@pytest.mark.usefixtures("without_exchange")
def test_write_without_exchange_renames_the_file_with_one_warning(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CredentialsFile(file)

    store.write("deploy", credentials()).result()
    store.write("deploy", credentials(1)).result()

    assert file.read_bytes() == LONG_TERM + section("deploy", 1)
    assert names_in(file.parent) == {"credentials"}
    assert events(caplog).count("credentials_file_without_exchange") == 1


@pytest.mark.usefixtures("without_exchange", "without_leases")
def test_write_without_leases_and_exchange_creates_a_file(tmp_path: Path) -> None:
    file = tmp_path / "credentials"

    write(file)

    assert file.read_bytes() == section("deploy")
    assert file.stat().st_nlink == 1
    assert names_in(tmp_path) == {"credentials"}


# Other programs that write at the worst moment


def _rename_over(file: Path) -> None:
    new = file.with_name("other")
    new.write_bytes(file.read_bytes() + b"[other]\nk = v\n")
    new.replace(file)


def _append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"[other]\nk = v\n")


def _once_before(monkeypatch: pytest.MonkeyPatch, name: str, meanwhile: Callable[[], None]) -> None:
    original = getattr(atomic_replace, name)
    done: list[bool] = []

    def call(*arguments: object) -> object:
        if not done:
            done.append(True)
            meanwhile()
        return original(*arguments)

    monkeypatch.setattr(atomic_replace, name, call)


def test_write_keeps_a_file_renamed_into_place_just_before_the_exchange(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _once_before(monkeypatch, "exchange", lambda: _rename_over(file))

    write(file)

    assert file.read_bytes() == LONG_TERM + b"[other]\nk = v\n" + section("deploy")
    assert names_in(file.parent) == {"credentials"}


def test_write_keeps_a_file_created_just_before_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"

    def make() -> None:
        file.write_bytes(LONG_TERM)

    _once_before(monkeypatch, "rename_noreplace", make)

    write(file)

    assert file.read_bytes() == LONG_TERM + section("deploy")
    assert names_in(tmp_path) == {"credentials"}


def _is_lease_awaited(file: Path) -> bool:
    """Whether the kernel is breaking a lease on the file (proc(5), /proc/locks)."""
    inode = f":{file.stat().st_ino}"
    return any(
        "LEASE" in line and "BREAKING" in line and line.split()[-3].endswith(inode)
        for line in Path("/proc/locks").read_text().splitlines()
    )


@only_with_leases
def test_write_lets_a_writer_that_opens_the_file_just_before_the_exchange_go_first(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = threading.Thread(target=_append, args=(file,))

    def start() -> None:
        writer.start()
        # It blocks in `open`, now or in a moment.
        while not _is_lease_awaited(file):
            os.sched_yield()

    _once_before(monkeypatch, "exchange", start)

    write(file)
    writer.join()

    assert file.read_bytes() == LONG_TERM + b"[other]\nk = v\n" + section("deploy")


@pytest.mark.usefixtures("without_leases")
def test_write_without_leases_keeps_an_edit_made_just_before_the_exchange(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _once_before(monkeypatch, "exchange", lambda: _append(file))

    write(file)

    assert file.read_bytes() == LONG_TERM + b"[other]\nk = v\n" + section("deploy")


@only_with_leases
def test_write_fails_while_another_program_keeps_the_file_open_for_writing(
    file: Path,
) -> None:
    store = CredentialsFile(file, sleep=lambda _: None)
    with file.open("ab") as held:
        with pytest.raises(CredentialsFileUnwritableError, match="keeps it open for writing"):
            store.write("deploy", credentials()).result()
        held.write(b"[other]\nk = v\n")
        held.flush()
        assert list(store.read()) == ["default", "other"]

    store.write("deploy", credentials()).result()
    assert file.read_bytes() == LONG_TERM + b"[other]\nk = v\n" + section("deploy")


def test_write_fails_if_other_programs_write_without_a_pause_and_loses_no_edit(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_swap = atomic_replace.AtomicReplacer._exchange_or_rename

    def swap(
        self: atomic_replace.AtomicReplacer, old: reader.OpenFile, new: reader.OpenFile
    ) -> bool:
        _replace_with_the_same(file)
        return original_swap(self, old, new)

    monkeypatch.setattr(atomic_replace.AtomicReplacer, "_exchange_or_rename", swap)

    with pytest.raises(CredentialsFileUnwritableError, match="change it without a pause"):
        CredentialsFile(file, sleep=lambda _: None).write("deploy", credentials()).result()

    assert file.read_bytes() == LONG_TERM
    assert names_in(file.parent) == {"credentials"}


def _replace_with_the_same(file: Path) -> None:
    new = file.with_name("other")
    new.write_bytes(file.read_bytes())
    new.replace(file)


# After a crash; tests/integration/test_crash.py covers every moment of one


def test_recover_removes_only_the_temporary_files_of_assumed(file: Path) -> None:
    others = {
        "credentials.tmp",
        ".credentials.swp",
        "credentials~",
        ".credentials.assumed",
        "credentials.assumed-conflict-17",
        "credentials.assumed-backup",
        ".config.assumed-new",
    }
    for name in (*others, ".credentials.assumed-new"):
        (file.parent / name).write_bytes(b"[half")

    CredentialsFile(file).recover()

    assert names_in(file.parent) == {"credentials", *others}
    assert file.read_bytes() == LONG_TERM


def test_recover_without_temporary_files_creates_nothing(file: Path) -> None:
    CredentialsFile(file).recover()

    assert [path.name for path in file.parent.iterdir()] == ["credentials"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_recover_completes_a_write_in_place(
    file: Path, share: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = LONG_TERM + section("deploy")

    def cut_short(descriptor: int, data: bytes) -> None:
        os.pwrite(descriptor, data[: int(share * len(data))], 0)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(in_place, "_overwrite", cut_short)
        with pytest.raises(KeyboardInterrupt):
            CredentialsFile(file, write=WriteMode.IN_PLACE).write("deploy", credentials()).result()
    half = file.read_bytes()

    CredentialsFile(file).recover()

    assert file.read_bytes() == (new if half not in {LONG_TERM, new} else half)
    assert names_in(file.parent) == {"credentials"}
    assert ("credentials_file_repaired" in events(caplog)) is (half not in {LONG_TERM, new})


def test_recover_keeps_an_edit_made_after_the_crash(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(descriptor: int, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(in_place, "_overwrite", crash)
        with pytest.raises(KeyboardInterrupt):
            CredentialsFile(file, write=WriteMode.IN_PLACE).write("deploy", credentials()).result()
    file.write_bytes(b"[other]\nk = v\n")

    CredentialsFile(file).recover()

    assert file.read_bytes() == b"[other]\nk = v\n"
    assert names_in(file.parent) == {"credentials"}


# Documentation


def test_every_special_case_in_the_documentation_has_a_test() -> None:
    table = TABLE.read_text().partition("## Special cases")[2].partition("\n## ")[0]
    rows = [
        line
        for line in table.splitlines()
        if line.startswith("| ") and not line.startswith(("| situation", "| ---"))
    ]
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"<!-- (test_\w+) -->", row)
        assert named, row
        assert set(named) <= globals().keys(), row


@only_root
def test_write_in_place_rejects_a_file_that_other_users_can_read(
    other_users_directory: Path,
) -> None:
    shared = other_users_directory / "credentials"
    shared.write_bytes(LONG_TERM)
    shared.chmod(0o666)
    os.chown(shared, 4321, 4321)
    store = CredentialsFile(shared, write=WriteMode.IN_PLACE)
    with pytest.raises(CredentialsFileUnwritableError, match="another user"):
        store.write("deploy", credentials()).result()
    assert shared.read_bytes() == LONG_TERM


def test_recover_removes_a_fifo_in_place_of_the_journal_without_waiting(file: Path) -> None:
    os.mkfifo(file.parent / ".credentials.assumed-journal")
    CredentialsFile(file, write=WriteMode.IN_PLACE).recover()
    assert file.read_bytes() == LONG_TERM
    assert not (file.parent / ".credentials.assumed-journal").exists()


@only_root
def test_write_as_root_rejects_a_users_link_to_the_file_of_another_user(
    other_users_directory: Path, tmp_path: Path
) -> None:
    roots = tmp_path / "roots.ini"
    roots.write_text("[mine]\nregion = eu-west-1\n")
    roots.chmod(0o644)
    link = other_users_directory / "credentials"
    link.symlink_to(roots)
    os.chown(link, OTHER_UID, OTHER_UID, follow_symlinks=False)
    with pytest.raises(CredentialsFileUnwritableError, match="belongs to nobody"):
        write(link)
    assert roots.read_text() == "[mine]\nregion = eu-west-1\n"
    assert mode(roots) == 0o644
