"""The credentials file on a real file system: every situation of docs/credentials-file.md."""

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
from assumed.storage import atomic_replace, in_place, reader, renameat2
from assumed.storage.credentials_file import CredentialsFile, WriteMode
from assumed.storage.lease import LeaseKind, LeaseState
from tests.credentials_files import (
    LONG_TERM,
    NOBODY,
    SECRETS,
    as_botocore_reads,
    as_nobody,
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
def nobodys_folder() -> Iterator[Path]:
    """Yield a folder that is nobody's, where root runs the tests: pytest's own is root's alone."""
    folder = Path(tempfile.mkdtemp())
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def write(path: Path, profile: str = "deploy", number: int = 0) -> None:
    CredentialsFile(path).write(profile, credentials(number)).result()


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# Reading and writing


def test_what_is_written_is_read_back(file: Path) -> None:
    store = CredentialsFile(file)
    store.write("deploy", credentials()).result()

    profiles = store.read()

    assert list(profiles) == ["default", "deploy"]
    assert profiles["deploy"].credentials() == credentials()
    assert profiles["deploy"].is_ours
    assert profiles["deploy"].account_id == "222222222222"
    assert profiles["default"].is_long_term
    assert profiles["default"].credentials() is None
    assert not any(secret in repr(profiles) for secret in SECRETS)
    assert file.read_bytes() == LONG_TERM + section("deploy")


def test_a_missing_file_reads_as_empty_and_reading_creates_nothing(tmp_path: Path) -> None:
    store = CredentialsFile(tmp_path / "aws" / "credentials")

    assert store.read() == {}
    assert store.remove() == ()
    assert not store.exists()
    store.recover()
    assert list(tmp_path.iterdir()) == []


def test_the_same_credentials_again_are_no_rewrite(file: Path) -> None:
    write(file)
    before = file.stat()

    write(file)

    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_writer_is_told_from_our_own_last_write(file: Path) -> None:
    store = CredentialsFile(file)
    assert store.own_last_write != store.signature()

    store.write("deploy", credentials()).result()
    assert store.own_last_write == store.signature()

    file.write_bytes(file.read_bytes() + b"[other]\n")
    assert store.own_last_write != store.signature()


def test_remove_takes_what_we_wrote_and_says_from_where(file: Path) -> None:
    store = CredentialsFile(file)
    store.write("deploy", credentials()).result()
    store.write("second", credentials()).result()

    assert store.remove(["deploy", "default", "unknown"]) == ("deploy",)
    assert store.remove() == ("second",)
    assert file.read_bytes() == LONG_TERM


def test_remove_raises_what_it_had_to_leave_once_all_else_is_gone(file: Path) -> None:
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


def test_a_refused_profile_leaves_the_file_and_the_refusal_names_the_mend(file: Path) -> None:
    before = file.stat()

    with pytest.raises(ProfileNotManagedError) as caught:
        write(file, "default")

    assert "overwrite: true" in caught.value.hint
    assert (file.stat().st_ino, file.read_bytes()) == (before.st_ino, LONG_TERM)


def test_a_file_that_botocore_cannot_read_stays_as_it_is(file: Path) -> None:
    file.write_bytes(LONG_TERM + b"AKIA\n")
    before = file.stat()

    with pytest.raises(CredentialsFileMalformedError, match=re.escape(f"{file}:5: ")):
        write(file)

    assert (file.stat().st_ino, file.read_bytes()) == (before.st_ino, LONG_TERM + b"AKIA\n")
    assert names_in(file.parent) == {"credentials"}


def test_after_close_nothing_is_written(file: Path) -> None:
    store = CredentialsFile(file)
    store.close()

    with pytest.raises(CredentialsFileUnwritableError, match="stopping"):
        store.write("deploy", credentials()).result()

    assert file.read_bytes() == LONG_TERM


def test_replaced_long_term_keys_are_backed_up_once_and_the_backup_is_never_replaced(
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
    assert backup.read_bytes() == keys, "the same keys again are not saved again"

    file.write_bytes(LONG_TERM.replace(b"the/only/copy", b"another"))
    store.write("default", credentials(3), overwrite=True).result()
    other = keys.replace(b"the/only/copy", b"another").replace(b"[default]", b"[default 2]")
    assert backup.read_bytes() == keys + other
    assert events(caplog).count("long_term_keys_backed_up") == 2
    assert not any(secret in caplog.text for secret in SECRETS)


def test_where_no_backup_can_be_made_the_long_term_keys_stay(file: Path) -> None:
    (file.parent / "credentials.assumed-backup").mkdir()

    with pytest.raises(CredentialsFileUnwritableError, match="assumed-backup"):
        CredentialsFile(file).write("default", credentials(), overwrite=True).result()

    assert file.read_bytes() == LONG_TERM


# Many at once


def test_many_refreshes_at_once_are_two_rewrites(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrites = []
    exchange = renameat2.exchange

    def count(one: Path, other: Path) -> None:
        rewrites.append(other)
        exchange(one, other)

    monkeypatch.setattr(atomic_replace, "exchange", count)
    everybody_waits = threading.Event()

    def sleep(seconds: float) -> None:
        # The first commit finds the lock taken, and gets it once all others have come.
        assert everybody_waits.wait(60)
        if lock >= 0:
            fcntl.flock(lock, fcntl.LOCK_UN)

    store = CredentialsFile(file, sleep=sleep)
    lock = os.open(file.parent / ".credentials.assumed-lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    writes = [store.write("p0", credentials(0))]
    while store._group._waiting:
        os.sched_yield()
    writes += [store.write(f"p{number}", credentials(number)) for number in range(1, 30)]
    everybody_waits.set()
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


def test_many_processes_take_turns_and_none_of_their_writes_is_lost(file: Path) -> None:
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


def test_given_another_assumed_that_never_lets_go_then_the_error_names_the_lock(file: Path) -> None:
    lock = file.parent / ".credentials.assumed-lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(CredentialsFileUnwritableError) as caught:
            CredentialsFile(file, sleep=lambda _: None).write("deploy", credentials()).result()
    finally:
        os.close(descriptor)

    assert caught.value.hint == f"see which one hangs: `fuser -v {lock}`"
    assert file.read_bytes() == LONG_TERM


def test_five_thousand_sections_stay_as_they_are_around_the_one_that_changes(file: Path) -> None:
    others = b"".join(section(f"team-{number}", number % 10) for number in range(5000))
    file.write_bytes(LONG_TERM + others)
    store = CredentialsFile(file)

    store.write("team-2500", credentials(7)).result()

    assert file.read_bytes() == LONG_TERM + others.replace(
        section("team-2500", 0), section("team-2500", 7)
    )
    assert len(store.read()) == 5001


# The daemon's own lock


def test_a_second_daemon_is_told_the_pid_and_the_configuration_of_the_first(file: Path) -> None:
    store = CredentialsFile(file)

    with store.hold("/home/kim/assumed.yaml"), pytest.raises(AlreadyRunningError) as caught:
        store.hold("/tmp/second.yaml")  # noqa: S108 -- no file is made of it

    assert f"pid {os.getpid()}" in caught.value.message
    assert "configuration /home/kim/assumed.yaml" in caught.value.message
    store.hold("/tmp/second.yaml").release()  # noqa: S108


def test_the_lock_of_a_killed_daemon_is_free_whatever_its_file_says(file: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from assumed.storage.credentials_file import CredentialsFile\n"
        "lock = CredentialsFile(Path(sys.argv[1])).hold('x'); print('held', flush=True)\n"
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
            store.hold("y")
        daemon.send_signal(signal.SIGKILL)

    with store.hold("y"):
        said = json.loads((file.parent / ".credentials.assumed-daemon").read_text())
    assert said == {"pid": os.getpid(), "config": "y"}


def test_a_lock_file_that_somebody_planted_is_refused(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (file.parent / ".credentials.assumed-lock").symlink_to(target)

    with pytest.raises(CredentialsFileUnwritableError, match="assumed-lock"):
        write(file)

    assert target.read_text() == "precious"
    assert file.read_bytes() == LONG_TERM


# Who may read it


def test_a_missing_folder_is_made_for_its_owner_alone_and_so_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / ".aws" / "credentials"

    write(path)

    assert path.read_bytes() == section("deploy")
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)


@pytest.mark.parametrize("found", [0o644, 0o660, 0o604])
def test_a_file_that_others_may_read_is_tightened_with_a_warning(
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


def test_a_file_is_tightened_even_where_nothing_can_be_written(file: Path) -> None:
    file.write_bytes(b"no section\n")
    file.chmod(0o644)

    with pytest.raises(CredentialsFileMalformedError):
        write(file)

    assert mode(file) == 0o600


@only_root
def test_the_file_of_a_user_stays_theirs_when_root_writes_it(nobodys_folder: Path) -> None:
    file = nobodys_folder / "credentials"
    file.write_bytes(LONG_TERM)
    os.chown(file, NOBODY, 12345)

    write(file)
    CredentialsFile(file).write("default", credentials(), overwrite=True).result()

    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY, 12345)
    assert {path.stat().st_uid for path in nobodys_folder.iterdir()} == {NOBODY}


@only_root
def test_a_new_file_in_the_folder_of_a_user_is_theirs_when_root_writes_it(
    nobodys_folder: Path,
) -> None:
    write(nobodys_folder / "credentials")

    assert {path.stat().st_uid for path in nobodys_folder.iterdir()} == {NOBODY}


@only_root
@pytest.mark.parametrize(
    ("found", "hint"),
    [
        (0o644, "run assumed as the user who owns the file"),
        (0o600, "the folder has to be writable"),
    ],
)
def test_the_file_of_another_user_stays_as_it_is(
    nobodys_folder: Path, found: int, hint: str
) -> None:
    file = nobodys_folder / "credentials"
    file.write_bytes(LONG_TERM)
    file.chmod(found)
    before = file.stat()

    with as_nobody(), pytest.raises(CredentialsFileUnwritableError) as caught:
        write(file)

    assert caught.value.hint.startswith(hint)
    assert (file.stat().st_ino, file.stat().st_uid, mode(file)) == (before.st_ino, 0, found)
    assert file.read_bytes() == LONG_TERM
    assert names_in(nobodys_folder) == {"credentials"}


def test_extended_attributes_are_kept(file: Path) -> None:
    try:
        os.setxattr(file, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has no extended attributes for users")

    write(file)

    assert os.getxattr(file, "user.note") == b"mine"


def test_an_access_list_is_kept_for_those_whom_it_names_and_closed_for_the_group(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Source: acl(5): the owner, a user by name, the group, the mask, others.
    anyone = 0xFFFFFFFF
    entries = [(1, 6, anyone), (2, 4, NOBODY), (4, 4, anyone), (0x10, 4, anyone), (0x20, 0, anyone)]

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
def test_symbolic_links_stay_and_what_they_lead_to_is_written(file: Path, links: int) -> None:
    home = file.parent.parent / "home"
    home.mkdir()
    names = [home / f"link-{number}" for number in range(links)]
    for name, target in zip(names, [*names[1:], Path("../aws/credentials")], strict=True):
        name.symlink_to(target)

    write(names[0])

    assert all(name.is_symlink() for name in names)
    assert not file.is_symlink()
    assert file.read_bytes() == LONG_TERM + section("deploy")
    assert names_in(home) == {name.name for name in names}, "all else is beside the file"


def test_a_link_that_leads_to_no_file_yet_stays_and_the_file_is_made(tmp_path: Path) -> None:
    link, target = tmp_path / "credentials", tmp_path / "dotfiles" / "aws"
    link.symlink_to(target)

    write(link)

    assert link.is_symlink()
    assert target.read_bytes() == section("deploy")
    assert (mode(target.parent), mode(target)) == (0o700, 0o600)


def test_a_linked_folder_stays_a_link(file: Path) -> None:
    link = file.parent.parent / ".aws"
    link.symlink_to(file.parent)

    write(link / "credentials")

    assert link.is_symlink()
    assert file.read_bytes() == LONG_TERM + section("deploy")


def test_a_link_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "credentials"
    link.symlink_to(link)

    with pytest.raises(CredentialsFileUnwritableError, match="a symbolic link that leads nowhere"):
        write(link)

    assert link.is_symlink()


def test_a_hard_link_keeps_the_old_credentials_and_a_warning_says_so_once(
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


def test_in_place_a_hard_link_stays_one_file(file: Path) -> None:
    other = file.parent / "other"
    other.hardlink_to(file)

    CredentialsFile(file, write=WriteMode.IN_PLACE).write("deploy", credentials()).result()

    assert file.samefile(other)
    assert other.read_bytes() == LONG_TERM + section("deploy")


# What is no file


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    (path / "mine").mkdir(parents=True)
    path.chmod(0o755)

    for attempt in (lambda: write(path), lambda: CredentialsFile(path).read()):
        with pytest.raises(CredentialsFileUnwritableError, match="is a folder, not a file"):
            attempt()

    assert mode(path) == 0o755
    assert [found.name for found in tmp_path.iterdir()] == ["credentials"]


def test_a_fifo_in_the_place_of_the_file_is_refused_without_waiting_for_its_other_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "credentials"
    os.mkfifo(path)

    for attempt in (lambda: write(path), lambda: CredentialsFile(path).read()):
        with pytest.raises(CredentialsFileUnwritableError, match="is a FIFO, not a file"):
            attempt()

    assert path.is_fifo()


@only_root
def test_a_device_in_the_place_of_the_file_is_refused_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "null"
    try:
        # Not the one of the system: a defect would take it away from everybody.
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no device can be made here")
    path.chmod(0o666)

    for attempt in (lambda: write(path), lambda: CredentialsFile(path).read()):
        with pytest.raises(CredentialsFileUnwritableError, match="is a device, not a file"):
            attempt()

    assert mode(path) == 0o666
    assert [found.name for found in tmp_path.iterdir()] == ["null"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aws").write_text("mine")

    with pytest.raises(CredentialsFileUnwritableError, match="aws"):
        write(tmp_path / "aws" / "credentials")

    assert (tmp_path / "aws").read_text() == "mine"


# What the system refuses


def test_a_read_only_folder_is_refused_and_written_as_soon_as_it_is_writable(
    nobodys_folder: Path,
) -> None:
    file = nobodys_folder / "credentials"
    with as_nobody():
        file.write_bytes(LONG_TERM)
        file.chmod(0o600)
        nobodys_folder.chmod(0o500)
        store = CredentialsFile(file)

        with pytest.raises(CredentialsFileUnwritableError) as caught:
            store.write("deploy", credentials()).result()
        assert caught.value.hint.startswith("the folder has to be writable")
        assert file.read_bytes() == LONG_TERM
        assert list(store.read()) == ["default"]

        nobodys_folder.chmod(0o700)
        store.write("deploy", credentials()).result()
        assert file.read_bytes() == LONG_TERM + section("deploy")


def test_a_read_only_file_is_written_for_the_folder_decides(file: Path) -> None:
    file.chmod(0o400)

    write(file)

    assert file.read_bytes() == LONG_TERM + section("deploy")
    assert mode(file) == 0o600


# Mounts: in a mount namespace of its own, which goes with the process


@dataclass(frozen=True)
class Mounted:
    """What a process saw that wrote in a mount namespace of its own."""

    said: dict[str, str]
    log: str


IN_NAMESPACE = """
import json, logging, os, sys
from contextlib import suppress
from pathlib import Path
from assumed.errors import AssumedError
from assumed.storage.credentials_file import CredentialsFile, WriteMode
from tests.credentials_files import LONG_TERM, credentials, mode, names_in
logging.basicConfig(format="%(message)s", stream=sys.stderr)
folder = Path(sys.argv[1])
file = folder / "credentials"
said = {}
def attempt(mode=WriteMode.REPLACE):
    try:
        CredentialsFile(file, write=mode).write("deploy", credentials()).result()
    except AssumedError as error:
        return f"{error.message}; {error.hint}"
    return "written"
def fill():
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
"""
SAY = "\nprint(json.dumps(said))\n"


def in_mount_namespace(folder: Path, mount: str, script: str) -> Mounted:
    """Run a script after a mount command; skip where such a namespace can't be had."""
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    try:
        probe = subprocess.run(  # noqa: S603
            [*unshare, "sh", "-c", f'cd "$1" && {mount}', "sh", str(folder)],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("unshare is not there")
    if probe.returncode:
        pytest.skip("no mount namespace is to be had here")
    done = subprocess.run(  # noqa: S603
        [
            *unshare,
            "sh",
            "-c",
            f'(cd "$1" && {mount}) && exec "$2" -c "$3" "$1"',
            "sh",
            str(folder),
            sys.executable,
            IN_NAMESPACE + script + SAY,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Mounted(json.loads(done.stdout), done.stderr)


@pytest.mark.parametrize("write_mode", WriteMode)
def test_on_a_full_disk_the_old_file_stays_and_heals_by_itself(
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
said["full"] = attempt(mode_)
said["kept"] = str(file.read_bytes() == LONG_TERM)
said["names"] = " ".join(sorted(names_in(file.parent)))
(folder / "filler").unlink()
said["healed"] = attempt(mode_)
said["mode"] = oct(mode(file))
""",
    )

    assert "No space left on device; free some space on that file system" in seen.said.pop("full")
    assert seen.said == {
        "kept": "True",
        "names": "credentials filler",
        "healed": "written",
        "mode": "0o600",
    }


BIND = "touch mounted && mount --bind mounted credentials"


def test_a_bind_mounted_file_is_written_in_place_with_one_warning(file: Path) -> None:
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
said["same"] = str(file.stat().st_ino == inode)
said["names"] = " ".join(sorted(names_in(folder)))
""",
    )

    assert seen.said == {"same": "True", "names": "credentials mounted"}
    assert seen.log.splitlines().count("credentials_file_is_a_mount_point") == 1
    assert behind.read_bytes() == LONG_TERM + section("deploy", 1)
    assert mode(behind) == 0o600
    assert file.read_bytes() == LONG_TERM, "what the mount hides"


def test_a_file_on_a_read_only_mount_is_refused(file: Path) -> None:
    seen = in_mount_namespace(
        file.parent,
        "mount --bind . . && mount -o remount,bind,ro .",
        "os.chdir(folder)\n"
        "said['refused'] = attempt()\n"
        "said['in place'] = attempt(WriteMode.IN_PLACE)\n"
        "said['read'] = ' '.join(CredentialsFile(file).read())\n",
    )

    assert seen.said.pop("read") == "default"
    assert all("Read-only file system; mount it writable" in said for said in seen.said.values())
    assert file.read_bytes() == LONG_TERM


# File systems and systems that offer less


def _no_lease(descriptor: int, kind: LeaseKind) -> LeaseState:
    return LeaseState.UNSUPPORTED


@pytest.fixture
def without_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader, atomic_replace):
        monkeypatch.setattr(module, "take_lease", _no_lease)


@pytest.fixture
def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renameat2, "_libc_renameat2", lambda: None)


@pytest.mark.usefixtures("without_leases")
@pytest.mark.parametrize("write_mode", WriteMode)
def test_without_leases_the_file_is_written_and_one_warning_says_so(
    file: Path, write_mode: WriteMode, caplog: pytest.LogCaptureFixture
) -> None:
    store = CredentialsFile(file, write=write_mode)

    store.write("deploy", credentials()).result()
    store.write("deploy", credentials(1)).result()

    assert file.read_bytes() == LONG_TERM + section("deploy", 1)
    assert events(caplog).count("credentials_file_without_leases") == 1


@pytest.mark.usefixtures("without_exchange")
def test_without_exchange_the_file_is_renamed_and_one_warning_says_so(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CredentialsFile(file)

    store.write("deploy", credentials()).result()
    store.write("deploy", credentials(1)).result()

    assert file.read_bytes() == LONG_TERM + section("deploy", 1)
    assert names_in(file.parent) == {"credentials"}
    assert events(caplog).count("credentials_file_without_exchange") == 1


@pytest.mark.usefixtures("without_exchange", "without_leases")
def test_a_new_file_is_made_without_either(tmp_path: Path) -> None:
    file = tmp_path / "credentials"

    write(file)

    assert file.read_bytes() == section("deploy")
    assert file.stat().st_nlink == 1
    assert names_in(tmp_path) == {"credentials"}


# Others who write at the worst moment


def _rename_over(file: Path) -> None:
    new = file.with_name("theirs")
    new.write_bytes(file.read_bytes() + b"[theirs]\nk = v\n")
    new.replace(file)


def _append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"[theirs]\nk = v\n")


def _once_before(monkeypatch: pytest.MonkeyPatch, name: str, meanwhile: Callable[[], None]) -> None:
    original = getattr(atomic_replace, name)
    done: list[bool] = []

    def call(*arguments: object) -> object:
        if not done:
            done.append(True)
            meanwhile()
        return original(*arguments)

    monkeypatch.setattr(atomic_replace, name, call)


def test_a_file_renamed_into_place_just_before_the_exchange_is_not_lost(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _once_before(monkeypatch, "exchange", lambda: _rename_over(file))

    write(file)

    assert file.read_bytes() == LONG_TERM + b"[theirs]\nk = v\n" + section("deploy")
    assert names_in(file.parent) == {"credentials"}


def test_a_file_made_just_before_ours_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"

    def make() -> None:
        file.write_bytes(LONG_TERM)

    _once_before(monkeypatch, "place_new", make)

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
def test_who_opens_the_file_for_writing_just_before_the_exchange_goes_first(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = threading.Thread(target=_append, args=(file,))

    def start() -> None:
        writer.start()
        # It hangs in `open` now, or will in a moment.
        while not _is_lease_awaited(file):
            os.sched_yield()

    _once_before(monkeypatch, "exchange", start)

    write(file)
    writer.join()

    assert file.read_bytes() == LONG_TERM + b"[theirs]\nk = v\n" + section("deploy")


@pytest.mark.usefixtures("without_leases")
def test_without_leases_what_is_written_before_the_exchange_is_not_lost_either(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _once_before(monkeypatch, "exchange", lambda: _append(file))

    write(file)

    assert file.read_bytes() == LONG_TERM + b"[theirs]\nk = v\n" + section("deploy")


@only_with_leases
def test_while_another_program_keeps_the_file_open_for_writing_nothing_is_written(
    file: Path,
) -> None:
    store = CredentialsFile(file, sleep=lambda _: None)
    with file.open("ab") as held:
        with pytest.raises(CredentialsFileUnwritableError, match="keeps it open for writing"):
            store.write("deploy", credentials()).result()
        held.write(b"[theirs]\nk = v\n")
        held.flush()
        assert list(store.read()) == ["default", "theirs"]

    store.write("deploy", credentials()).result()
    assert file.read_bytes() == LONG_TERM + b"[theirs]\nk = v\n" + section("deploy")


def test_others_who_never_pause_are_named_and_nothing_of_theirs_is_lost(
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
    new = file.with_name("theirs")
    new.write_bytes(file.read_bytes())
    new.replace(file)


# After a crash; tests/integration/test_crash.py has every moment of it


def test_at_the_next_start_what_a_crash_left_is_tidied_and_only_what_is_ours(file: Path) -> None:
    theirs = {
        "credentials.tmp",
        ".credentials.swp",
        "credentials~",
        ".credentials.assumed",
        "credentials.assumed-conflict-17",
        "credentials.assumed-backup",
        ".config.assumed-new",
    }
    for name in (*theirs, ".credentials.assumed-new"):
        (file.parent / name).write_bytes(b"[half")

    CredentialsFile(file).recover()

    assert names_in(file.parent) == {"credentials", *theirs}
    assert file.read_bytes() == LONG_TERM


def test_where_nothing_is_to_be_tidied_a_start_creates_nothing(file: Path) -> None:
    CredentialsFile(file).recover()

    assert [path.name for path in file.parent.iterdir()] == ["credentials"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_write_in_place_that_was_cut_short_is_finished_at_the_next_start(
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


def test_what_somebody_wrote_after_a_crash_stays_as_they_wrote_it(
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


# The documentation


def test_every_situation_in_the_documentation_has_its_test() -> None:
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
def test_in_place_a_file_that_is_another_users_or_that_others_may_read_gets_no_secret(
    nobodys_folder: Path,
) -> None:
    shared = nobodys_folder / "credentials"
    shared.write_bytes(LONG_TERM)
    shared.chmod(0o666)
    os.chown(shared, 4321, 4321)
    store = CredentialsFile(shared, write=WriteMode.IN_PLACE)
    with pytest.raises(CredentialsFileUnwritableError, match="another user"):
        store.write("deploy", credentials()).result()
    assert shared.read_bytes() == LONG_TERM


def test_a_fifo_in_the_place_of_the_journal_is_not_waited_for(file: Path) -> None:
    os.mkfifo(file.parent / ".credentials.assumed-journal")
    CredentialsFile(file, write=WriteMode.IN_PLACE).recover()
    assert file.read_bytes() == LONG_TERM
    assert not (file.parent / ".credentials.assumed-journal").exists()


@only_root
def test_root_follows_no_link_of_a_user_to_a_file_that_is_not_theirs(
    nobodys_folder: Path, tmp_path: Path
) -> None:
    roots = tmp_path / "roots.ini"
    roots.write_text("[mine]\nregion = eu-west-1\n")
    roots.chmod(0o644)
    link = nobodys_folder / "credentials"
    link.symlink_to(roots)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(CredentialsFileUnwritableError, match="a link of one user's"):
        write(link)
    assert roots.read_text() == "[mine]\nregion = eu-west-1\n"
    assert mode(roots) == 0o644
