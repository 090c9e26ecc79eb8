"""Attacks of another user on the paths that root writes, with real processes of that user."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assumed import logs
from assumed.config.permissions import insecure_reason
from assumed.errors import CredentialsFileUnwritableError, DaemonUnreachableError
from assumed.fsutil import create_directory, create_private_parents, replace_file
from assumed.path_trust import UntrustedPathError, untrusted_component
from assumed.server.unix_socket import private_directory
from assumed.storage import CredentialsFile
from assumed.storage.renameat2 import exchange
from tests.credentials_files import OTHER_UID, credentials
from tests.repository import REPOSITORY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

WRITES = 2_000
STRANGER, INSIDE = 12_345, 4_321
# Source: linux/sched.h and linux/prctl.h.
CLONE_NEWNS, CLONE_NEWUSER, PR_SET_DUMPABLE = 0x0002_0000, 0x1000_0000, 4
SECONDS = 60


class Victim:
    """A home directory of another user, beside a directory that only root can write."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.home.mkdir(mode=0o755)
        self.aws = self.home / ".aws"
        self.roots = directory / "etc"
        self.roots.mkdir(mode=0o755)
        for name in ("credentials", "assumed.log"):
            (self.roots / name).write_text("[root]\nregion = eu-west-1\n")
            (self.roots / name).chmod(0o644)
        os.chown(self.home, OTHER_UID, OTHER_UID)

    def link(self, link: Path, target: Path) -> None:
        link.symlink_to(target)
        os.chown(link, OTHER_UID, OTHER_UID, follow_symlinks=False)

    def state_of_root(self) -> dict[str, tuple[int, ...]]:
        return {
            str(path): (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_ino)
            for path in (self.roots, *self.roots.iterdir())
            for status in [path.lstat()]
        }


@pytest.fixture
def victim() -> Iterator[Victim]:
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    try:
        yield Victim(directory)
    finally:
        shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    for handler in logger.handlers:
        if handler not in handlers:
            handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)


def write(path: Path) -> None:
    CredentialsFile(path).write("deploy", credentials()).result()


def write_log(path: Path) -> None:
    logs.configure(log_file=path)


@contextmanager
def exchanging(names: tuple[Path, Path]) -> Iterator[None]:
    """Let a process of the other user exchange two names without a pause."""
    child = os.fork()
    if child == 0:
        try:
            become(OTHER_UID)
            signal.alarm(SECONDS)
            while True:
                exchange(*names)
        finally:
            os._exit(1)
    try:
        yield
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the attack ended early"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("target", ["nologin", "credentials"])
def test_root_follows_no_link_of_a_user_at_the_file(victim: Victim, target: str) -> None:
    victim.aws.mkdir()
    os.chown(victim.aws, OTHER_UID, OTHER_UID)
    victim.link(victim.aws / "credentials", victim.roots / target)
    before = victim.state_of_root()

    with pytest.raises(CredentialsFileUnwritableError, match="home belongs to nobody"):
        write(victim.aws / "credentials")

    assert victim.state_of_root() == before


def test_root_follows_no_link_of_a_user_at_the_directory(victim: Victim) -> None:
    victim.link(victim.aws, victim.roots)
    before = victim.state_of_root()

    with pytest.raises(CredentialsFileUnwritableError, match="home belongs to nobody"):
        write(victim.aws / "credentials")

    assert victim.state_of_root() == before


@pytest.mark.parametrize(
    ("work", "name"), [(write, "credentials"), (write_log, "assumed.log")], ids=["write", "log"]
)
def test_root_changes_nothing_while_a_user_exchanges_the_directory(
    victim: Victim, work: Callable[[Path], None], name: str
) -> None:
    victim.aws.mkdir()
    os.chown(victim.aws, OTHER_UID, OTHER_UID)
    link = victim.home / "link"
    victim.link(link, victim.roots)
    before = victim.state_of_root()

    with exchanging((victim.aws, link)):
        for _ in range(WRITES):
            with pytest.raises((CredentialsFileUnwritableError, UntrustedPathError)):
                work(victim.aws / name)

    assert victim.state_of_root() == before
    assert list((victim.aws if not victim.aws.is_symlink() else link).iterdir()) == []


def test_a_log_file_follows_no_link_that_appears_in_a_shared_directory(victim: Victim) -> None:
    shared = victim.home.parent / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    own, link = shared / "own", shared / "link"
    own.touch()
    os.chown(own, OTHER_UID, OTHER_UID)
    victim.link(link, victim.roots / "assumed.log")
    before = victim.state_of_root()

    with exchanging((own, link)):
        for _ in range(WRITES):
            with pytest.raises(UntrustedPathError):
                logs.configure(log_file=link)

    assert victim.state_of_root() == before


@pytest.mark.parametrize(
    "work",
    [
        create_directory,
        create_private_parents,
        lambda path: replace_file(path, b"metrics", mode=0o644),
        private_directory,
    ],
    ids=["create_directory", "create_private_parents", "replace_file", "private_directory"],
)
def test_root_creates_nothing_behind_a_link_of_a_user(
    victim: Victim, work: Callable[[Path], None]
) -> None:
    victim.link(victim.home / ".local", victim.roots)
    before = victim.state_of_root()

    with pytest.raises((UntrustedPathError, DaemonUnreachableError)) as caught:
        work(victim.home / ".local" / "state" / "assumed")

    error = caught.value
    advice = getattr(error, "hint", None) or getattr(error, "strerror", None)
    assert advice is not None
    assert f"{victim.home} belongs to nobody" in advice
    assert "`sudo -u nobody assumed …`" in advice
    assert victim.state_of_root() == before


def test_the_log_file_option_names_the_component_and_the_command(victim: Victim) -> None:
    victim.link(victim.home / "x.log", victim.roots / "nologin")
    before = victim.state_of_root()

    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "assumed", "check", "--log-file", str(victim.home / "x.log")],
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
        text=True,
    )

    assert done.returncode == 2
    assert f"{victim.home} belongs to nobody (uid {OTHER_UID}): run it as that user" in done.stderr
    assert victim.state_of_root() == before


@pytest.mark.parametrize("is_read_only", [False, True], ids=["writable", "read-only"])
def test_a_configuration_from_outside_the_user_namespace_needs_a_read_only_mount(
    victim: Victim, *, is_read_only: bool
) -> None:
    config = victim.home / "config.yaml"
    config.write_text("profiles:\n")
    os.chown(config, STRANGER, STRANGER)
    os.chown(victim.home, STRANGER, STRANGER)

    def inside() -> str:
        enter_user_namespace(INSIDE, is_read_only=is_read_only)
        return insecure_reason(config, os.open(config, os.O_RDONLY)) or "trusted"

    result = in_child(inside)
    expected = "trusted" if is_read_only else "outside this user namespace: mount it read-only"
    assert expected in result


@pytest.mark.parametrize("is_mounted", [False, True], ids=["directory", "volume"])
def test_a_volume_that_everyone_can_write_is_trusted(victim: Victim, *, is_mounted: bool) -> None:
    volume = victim.roots / "volume"
    volume.mkdir()
    volume.chmod(0o777)

    def inside() -> str:
        if is_mounted:
            enter_mount_namespace(f"mount -t tmpfs -o mode=0777 none {volume}")
        become(INSIDE)
        found = untrusted_component(volume / "credentials")
        return found.reason if found else "trusted"

    assert in_child(inside) == ("trusted" if is_mounted else "is writable by everyone")


def in_child(work: Callable[[], str]) -> str:
    """Return what a function returns in a process of its own; skip the test if it cannot run."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, work().encode())
        except BaseException as error:  # noqa: BLE001 - reported by the parent
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as results:
        result = results.read()
    if "cannot enter" in result:
        pytest.skip(result)
    return result


def become(uid: int) -> None:
    """Become another user for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def enter_mount_namespace(command: str) -> None:
    """Run a mount command that only this process sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    commands = ["mount --make-rprivate /", command]
    if libc.unshare(CLONE_NEWNS) or any(os.system(each) for each in commands):  # noqa: S605
        raise OSError("cannot enter a mount namespace")


def enter_user_namespace(uid: int, *, is_read_only: bool) -> None:
    """Become a user in a namespace that has no other user, as in a rootless container."""
    if is_read_only:
        enter_mount_namespace("mount -o remount,bind,ro /")
    become(uid)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_DUMPABLE, 1)
    if libc.unshare(CLONE_NEWUSER):
        raise OSError("cannot enter a user namespace")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
