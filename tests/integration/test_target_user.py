"""What root checks and runs for another user, and that this user cannot harm root."""

from __future__ import annotations

import grp
import os
import pty
import pwd
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from assumed.app.program import installation
from assumed.errors import AssumedError, ConfigurationError, UsageError
from assumed.platform.systemd.installation import SystemdService
from assumed.platform.systemd.systemctl import Systemctl
from assumed.platform.systemd.target_user import TargetUser
from assumed.platform.systemd.unit_file import USER_UNIT, unit_text
from tests.unit.test_path_trust import USER as ACL_USER
from tests.unit.test_path_trust import set_acl

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


@pytest.fixture
def library(prefix: Path) -> Path:
    library = prefix / "lib" / "site-packages" / "botocore"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("")
    return library


PARTS = [
    "bin/assumed", "bin", ".", "lib/site-packages", "lib/site-packages/botocore",
    "lib/site-packages/botocore/__init__.py",
]  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.usefixtures("library")
def test_require_program_rejects_a_program_that_others_can_change(prefix: Path, name: str) -> None:
    path = prefix / name
    require(prefix)
    mode = path.stat().st_mode
    path.chmod(mode | 0o002)
    with pytest.raises(UsageError, match=f"{path.name} is writable by everyone"):
        require(prefix)
    path.chmod(mode)
    os.chown(path, STRANGER, 0)
    with pytest.raises(UsageError, match=f"as nobody: .*{path.name} belongs to uid 12345"):
        require(prefix)
    # Root has just run it.
    os.chown(path, pwd.getpwnam(USER).pw_uid, 0)
    with pytest.raises(UsageError, match="belongs to nobody"):
        require(prefix)
    os.chown(path, 0, STRANGER)
    path.chmod(mode | 0o020)
    with pytest.raises(UsageError, match="is writable by its group"):
        require(prefix)
    os.chown(path, 0, 0)
    require(prefix)
    # Debian has given group staff the right to change /usr/local. No one is in it.
    os.chown(path, 0, grp.getgrnam("staff").gr_gid)
    require(prefix)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", PARTS)
def test_require_program_rejects_an_access_list(prefix: Path, name: str) -> None:
    require(prefix)
    set_acl(prefix / name, ACL_USER, STRANGER, 7)
    with pytest.raises(UsageError, match=r"is writable by uid 12345 \(ACL\)"):
        require(prefix)


def test_require_program_follows_links(prefix: Path, library: Path) -> None:
    elsewhere = prefix.with_name(f"{prefix.name}-elsewhere")
    elsewhere.mkdir()
    try:
        (library / "data").symlink_to(elsewhere)
        require(prefix)
        os.chown(elsewhere, STRANGER, 0)
        with pytest.raises(UsageError, match=f"{elsewhere.name} belongs to uid 12345"):
            require(prefix)
        os.chown(elsewhere, 0, 0)
        os.lchown(library / "data", STRANGER, 0)
        with pytest.raises(UsageError, match="data belongs to uid 12345"):
            require(prefix)
    finally:
        elsewhere.rmdir()


def test_the_installation_has_each_imported_module() -> None:
    def is_covered(file: Path) -> bool:
        return any(file.is_relative_to(root.resolve()) for root in roots)

    roots = [*installation()]
    files = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", "")]
    tree = Path(__file__).parents[2]
    ours = (tree / "tests", tree / "bench", tree / "packaging")
    own = [Path(file).resolve() for file in files if file is not None]
    assert len(own) > 100
    others = [file for file in own if not any(file.is_relative_to(each) for each in ours)]
    assert [file for file in others if not is_covered(file)] == []


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
