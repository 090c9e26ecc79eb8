"""What root checks and runs for another user, and that this user cannot harm root."""

from __future__ import annotations

import os
import pty
import pwd
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from assumed.errors import AssumedError, ConfigurationError, UsageError
from assumed.platform.systemd.installation import SystemdService
from assumed.platform.systemd.systemctl import Systemctl
from assumed.platform.systemd.target_user import TargetUser
from assumed.platform.systemd.unit_file import USER_UNIT, unit_text

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can run a process as another user"
)

USER = "nobody"
STRANGER = 12_345


@pytest.fixture
def prefix() -> Iterator[Path]:
    """Yield a directory with a program for every user; pytest's directories are private."""
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        (directory / "bin").mkdir(mode=0o755)
        program = directory / "bin" / "assumed"
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


def require(prefix: Path) -> None:
    TargetUser(USER).require_program([str(prefix / "bin" / "assumed")], [prefix])


@pytest.mark.parametrize("name", ["bin/assumed", "bin", "."])
def test_require_program_rejects_a_program_that_others_can_change(prefix: Path, name: str) -> None:
    path = prefix / name
    require(prefix)
    path.chmod(0o757)
    with pytest.raises(UsageError, match="writable by every user, who could act as nobody"):
        require(prefix)
    path.chmod(0o755)
    os.chown(path, STRANGER, 0)
    with pytest.raises(UsageError, match="belongs to uid 12345, who could act as nobody"):
        require(prefix)
    os.chown(path, 0, STRANGER)
    path.chmod(0o775)
    if name == "bin":
        require(prefix)  # such as Debian's /usr/local/bin, which group staff may change
    else:
        with pytest.raises(UsageError, match="writable by group 12345"):
            require(prefix)
    os.chown(path, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
    require(prefix)


def test_run_gives_a_process_nothing_of_root() -> None:
    script = "id -u; id -G; umask; env | sort; pwd; ls /proc/self/fd | wc -l"
    ran = TargetUser(USER).run(["/bin/sh", "-c", script])
    user = pwd.getpwnam(USER)
    uid, groups, _, *environ, directory, descriptors = ran.stdout.splitlines()
    assert (int(uid), directory) == (user.pw_uid, "/")
    assert set(map(int, groups.split())) == set(os.getgrouplist(USER, user.pw_gid))
    known = {"HOME", "USER", "LOGNAME", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert {line.partition("=")[0] for line in environ} <= known
    assert int(descriptors) == 4  # its three, and the directory that ls reads


def test_run_gives_a_process_no_access_to_the_terminal_of_root() -> None:
    child, terminal = pty.fork()
    if child == 0:
        try:
            ran = TargetUser(USER).run(["/bin/sh", "-c", ": < /dev/tty"])
            os.write(1, b"denied" if ran.returncode else b"opened")
        finally:
            os._exit(0)
    try:
        output = os.read(terminal, 100)
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    assert output == b"denied"


def test_run_decodes_any_output() -> None:
    ran = TargetUser(USER).run(["/bin/sh", "-c", r"printf '\377\033'; printf '\377' >&2"])
    assert (ran.stdout, ran.stderr) == ("\ufffd\x1b", "\ufffd")


def test_root_writes_and_removes_no_unit_in_a_directory_of_a_user(prefix: Path) -> None:
    file_of_root = prefix / "kept"
    file_of_root.write_text("root's")
    home = prefix / "home"
    units = home / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / f".{USER_UNIT}.new").symlink_to(file_of_root)
    (home / "link").symlink_to(prefix)
    os.chown(home, STRANGER, STRANGER)
    os.lchown(home / "link", STRANGER, STRANGER)
    for directory in (units, home / "link", home / "not" / "there"):
        service = SystemdService(Systemctl(is_user=True), USER_UNIT, directory / USER_UNIT)
        with pytest.raises(AssumedError, match="owned by another user"):
            service.install(unit_text(USER_UNIT, [sys.executable]))
        with pytest.raises(AssumedError, match="owned by another user"):
            service.uninstall()
    assert file_of_root.read_text() == "root's"
    assert not (prefix / USER_UNIT).exists()


def test_require_configuration_repeats_the_error_of_check(prefix: Path) -> None:
    program = prefix / "bin" / "assumed"
    program.write_text("#!/bin/sh\necho 'assumed: Configuration: no\n  the hint' >&2\nexit 78\n")
    with pytest.raises(ConfigurationError) as caught:
        TargetUser(USER).require_configuration([str(program)])
    assert caught.value.problems == ("no\n  the hint",)
