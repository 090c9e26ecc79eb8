"""What root does for another user: whom it trusts, and what that user can't do to it."""

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

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs something as others")

SOMEBODY = "nobody"
STRANGER = 12_345


@pytest.fixture
def prefix() -> Iterator[Path]:
    """Yield a folder with a program that all may run: pytest's own is root's alone."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        (folder / "bin").mkdir(mode=0o755)
        program = folder / "bin" / "assumed"
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def require(prefix: Path) -> None:
    TargetUser(SOMEBODY).require_program([str(prefix / "bin" / "assumed")], [prefix])


@pytest.mark.parametrize("what", ["bin/assumed", "bin", "."])
def test_a_program_that_others_can_change_is_refused(prefix: Path, what: str) -> None:
    path = prefix / what
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
    if what == "bin":
        require(prefix)  # such as Debian's /usr/local/bin, which is its group's `staff`
    else:
        with pytest.raises(UsageError, match="writable by group 12345"):
            require(prefix)
    os.chown(path, pwd.getpwnam(SOMEBODY).pw_uid, pwd.getpwnam(SOMEBODY).pw_gid)
    require(prefix)


def test_a_process_of_the_user_has_nothing_of_roots() -> None:
    script = "id -u; id -G; umask; env | sort; pwd; ls /proc/self/fd | wc -l"
    ran = TargetUser(SOMEBODY).run(["/bin/sh", "-c", script])
    user = pwd.getpwnam(SOMEBODY)
    uid, groups, _, *environ, folder, descriptors = ran.stdout.splitlines()
    assert (int(uid), folder) == (user.pw_uid, "/")
    assert set(map(int, groups.split())) == set(os.getgrouplist(SOMEBODY, user.pw_gid))
    known = {"HOME", "USER", "LOGNAME", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert {line.partition("=")[0] for line in environ} <= known
    assert int(descriptors) == 4  # its three, and the folder that ls reads


def test_a_process_of_the_user_can_not_type_into_roots_terminal() -> None:
    child, terminal = pty.fork()
    if child == 0:
        try:
            ran = TargetUser(SOMEBODY).run(["/bin/sh", "-c", ": < /dev/tty"])
            os.write(1, b"refused" if ran.returncode else b"opened")
        finally:
            os._exit(0)
    try:
        said = os.read(terminal, 100)
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    assert said == b"refused"


def test_what_a_process_of_the_user_prints_can_be_anything() -> None:
    ran = TargetUser(SOMEBODY).run(["/bin/sh", "-c", r"printf '\377\033'; printf '\377' >&2"])
    assert (ran.stdout, ran.stderr) == ("\ufffd\x1b", "\ufffd")


def test_root_writes_and_removes_no_unit_where_a_user_leads_it(prefix: Path) -> None:
    kept = prefix / "kept"
    kept.write_text("root's")
    home = prefix / "home"
    folder = home / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    (folder / f".{USER_UNIT}.new").symlink_to(kept)
    (home / "link").symlink_to(prefix)
    os.chown(home, STRANGER, STRANGER)
    os.lchown(home / "link", STRANGER, STRANGER)
    for place in (folder, home / "link", home / "not" / "there"):
        service = SystemdService(Systemctl(is_user=True), USER_UNIT, place / USER_UNIT)
        with pytest.raises(AssumedError, match="owned by another user"):
            service.install(unit_text(USER_UNIT, [sys.executable]))
        with pytest.raises(AssumedError, match="owned by another user"):
            service.uninstall()
    assert kept.read_text() == "root's"
    assert not (prefix / USER_UNIT).exists()


def test_require_configuration_repeats_the_error_of_check(prefix: Path) -> None:
    program = prefix / "bin" / "assumed"
    program.write_text("#!/bin/sh\necho 'assumed: Configuration: no\n  the hint' >&2\nexit 78\n")
    with pytest.raises(ConfigurationError) as caught:
        TargetUser(SOMEBODY).require_configuration([str(program)])
    assert caught.value.problems == ("no\n  the hint",)
