"""`assumed service install` and `uninstall`: what they print and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from assumed import __version__
from assumed.cli import status
from assumed.errors import (
    AlreadyRunningError,
    ConfigurationError,
    DaemonUnreachableError,
    UsageError,
)
from assumed.models import ProfileState
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT, is_generated
from tests.unit.cli.service_machine import Machine
from tests.unit.platform.systemd.fake_systemd import MAIN_PID

STARTED = f"assumed.service: enabled and started, version {__version__}"


def test_install_starts_the_service_and_shows_its_status(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.run("install")
    printed = capsys.readouterr()
    file = machine.directory / USER_UNIT
    assert printed.out.splitlines()[:2] == [f"{file}: written", STARTED]
    assert "deploy" in printed.out.splitlines()[-1]
    assert "the service stops when you log out" in printed.err
    assert is_generated(file.read_text())
    machine.run("install", "--linger")
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:3] == [
        f"{file}: unchanged",
        f"assumed.service: enabled and restarted, version {__version__}",
        "lingering enabled; the service starts at boot",
    ]
    assert printed.err == ""
    machine.run("install", "--linger")
    assert "lingering was already enabled" in capsys.readouterr().out


@pytest.mark.parametrize("state", list(ProfileState))
def test_install_succeeds_whatever_the_state_of_a_profile(
    machine: Machine, capsys: pytest.CaptureFixture[str], state: ProfileState
) -> None:
    machine.profile_state = state
    assert machine.run("install") == 0
    assert state in capsys.readouterr().out


def test_install_succeeds_if_the_status_is_not_available(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise DaemonUnreachableError("the daemon does not answer", hint="see its log")

    monkeypatch.setattr(status, "connect_to_daemon", fail)
    assert machine.run("install") == 0
    printed = capsys.readouterr()
    assert STARTED in printed.out
    assert "the daemon does not answer" in printed.err


def test_install_after_an_upgrade_shows_what_changed(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.run("install")
    machine.daemon_version = "0.0.1\x1b"
    monkeypatch.setattr("sys.argv", ["/elsewhere/assumed"])
    capsys.readouterr()
    machine.run("install")
    assert capsys.readouterr().out.splitlines()[:4] == [
        f"{machine.directory / USER_UNIT}: rewritten",
        f"  - ExecStart=/usr/bin/assumed run --config {machine.config}",
        f"  + ExecStart=/elsewhere/assumed run --config {machine.config}",
        f"assumed.service: enabled and restarted, version 0.0.1\\x1b before, {__version__} now",
    ]


def test_install_names_variables_of_the_shell_and_not_their_values(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:a-secret@proxy")
    machine.run("install")
    printed = capsys.readouterr()
    assert "set in this shell, but not for the service: " in printed.err
    assert "HTTPS_PROXY" in printed.err
    assert "systemctl --user edit assumed.service" in printed.err
    assert "a-secret" not in printed.out + printed.err


def test_install_with_a_wrong_configuration_installs_nothing(machine: Machine) -> None:
    machine.configuration_error = ConfigurationError(["wrong"], hint="correct it")
    with pytest.raises(ConfigurationError):
        machine.run("install")
    assert not machine.directory.exists()


def test_install_beside_a_daemon_that_was_started_by_hand_installs_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.manual_daemon = 4711
    with pytest.raises(AlreadyRunningError, match="process ID 4711") as raised:
        machine.run("install")
    assert "kill 4711" in raised.value.hint
    assert not machine.directory.exists()
    assert machine.systemd.changes() == []
    machine.manual_daemon = None
    machine.run("install")
    machine.manual_daemon = MAIN_PID
    machine.run("install")
    assert "enabled and restarted" in capsys.readouterr().out, "it is the service's"


@pytest.mark.parametrize("options", [["--linger"], ["--config", "config.yaml"]])
def test_options_of_a_user_exclude_system(machine: Machine, options: list[str]) -> None:
    with pytest.raises(UsageError, match="--system excludes"):
        machine.run("install", "--system", "joe", *options)


@pytest.mark.parametrize("state", [ProfileState.VALID, ProfileState.FAILING])
def test_a_system_unit_shows_the_status_that_its_user_sees(
    machine: Machine, capsys: pytest.CaptureFixture[str], state: ProfileState
) -> None:
    machine.profile_state = state
    assert machine.run("install", "--system", "joe") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[:2] == [
        f"{machine.directory / SYSTEM_UNIT}: written",
        f"assumed@joe.service: enabled and started, version {__version__}",
    ]
    assert machine.user_commands == [["/usr/bin/assumed", "status"]]
    assert "ok " in printed
    assert "\x1b" not in printed, "another user's process controls the terminal of root"


@pytest.mark.parametrize(
    ("version", "change"),
    [
        ("0.0.1", f"restarted, version 0.0.1 before, {__version__} now"),
        (__version__, f"restarted, version {__version__}"),
    ],
)
def test_a_system_unit_is_restarted_after_an_upgrade(
    machine: Machine, capsys: pytest.CaptureFixture[str], version: str, change: str
) -> None:
    machine.run("install", "--system", "joe")
    machine.set_user_status("valid", version=version)
    capsys.readouterr()
    machine.run("install", "--system", "joe")
    assert f"assumed@joe.service: enabled and {change}\n" in capsys.readouterr().out


@pytest.mark.parametrize("system", [[], ["--system", "joe"]])
def test_print_prints_the_unit_and_installs_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str], system: list[str]
) -> None:
    machine.run("install", "--print", *system)
    assert is_generated(capsys.readouterr().out)
    assert not machine.directory.exists()
    assert machine.systemd.commands == []


def test_uninstall_removes_what_is_installed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    file = machine.directory / USER_UNIT
    machine.run("uninstall")
    assert capsys.readouterr().out == "assumed.service: not installed, nothing to remove\n"
    machine.run("install")
    capsys.readouterr()
    machine.is_linger_ours = True
    machine.run("uninstall")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "assumed.service: stopped and removed",
        "lingering disabled",
    ]
    assert "credentials are kept" in printed.err
    assert not file.exists()


def test_uninstall_says_that_the_template_of_other_users_stays(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.run("install", "--system", "joe")
    other = machine.directory / "multi-user.target.wants" / "assumed@ann.service"
    other.parent.mkdir()
    other.touch()
    capsys.readouterr()
    machine.run("uninstall", "--system", "joe")
    assert "kept, since other users have instances of it" in capsys.readouterr().out


def test_uninstall_says_that_the_unit_of_a_package_stays(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    packaged = tmp_path / "package" / USER_UNIT
    packaged.parent.mkdir()
    packaged.write_text(f"ExecStart=/usr/bin/assumed run --config {machine.config}\n")
    machine.systemd.directories.append(packaged.parent)
    machine.run("install")
    assert f"{packaged}: installed by a package\n" in capsys.readouterr().out
    machine.run("uninstall")
    assert f"{packaged}: kept, since it belongs to a package\n" in capsys.readouterr().out
