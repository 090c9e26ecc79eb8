"""`assumed service`: what it prints and refuses, with a systemd that starts nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from assumed.app import standalone
from assumed.cli import service as service_command
from assumed.cli.main import _assumed
from assumed.errors import AlreadyRunningError, ConfigurationError, UsageError
from assumed.platform.systemd import installation
from assumed.platform.systemd.installation import SystemdService
from assumed.platform.systemd.systemctl import Systemctl
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT, is_generated
from tests.unit.platform.systemd.fake_systemd import FakeSystemd

MAIN_PID = "systemctl --user show --property=MainPID --value assumed.service"


class Machine:
    """A machine with systemd, and a configuration in the home of its user."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.systemd = FakeSystemd()
        self.daemon_pid: int | None = None
        self.lingering = False
        self.is_linger_ours = False
        self.directory = home / "systemd"
        self.config = home / "config.yaml"
        self.config.write_text("profiles: {}\n")
        monkeypatch.setattr(subprocess, "run", self.systemd.run)
        monkeypatch.setenv("ASSUMED_CONFIG", str(self.config))
        for name in installation._VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in {
            "user_service": self._user_service,
            "system_service": self._system_service,
            "connect_to_daemon": self._connect,
            "user_name": lambda: "jane",
            "is_lingering": lambda _: self.lingering,
            "enable_linger": self._enable_linger,
            "disable_linger": lambda *_: self.is_linger_ours,
            "TargetUser": self._target_user,
            "status": SimpleNamespace(command=click.Command("status", callback=self._status)),
        }.items():
            monkeypatch.setattr(service_command, name, value)
        monkeypatch.setattr(standalone, "Standalone", self._read_configuration)
        self.configuration_error: ConfigurationError | None = None
        self.target_status = 0

    def _read_configuration(self, *_: object) -> None:
        if self.configuration_error is not None:
            raise self.configuration_error

    def _user_service(self, _: object) -> SystemdService:
        return SystemdService(Systemctl(is_user=True), USER_UNIT, self.directory / USER_UNIT)

    def _system_service(self, user: str) -> SystemdService:
        unit = SYSTEM_UNIT.replace("@", f"@{user}")
        return SystemdService(Systemctl(is_user=False), unit, self.directory / SYSTEM_UNIT)

    def _connect(self, _: object) -> Any:
        if self.daemon_pid is None:
            return None
        daemon = SimpleNamespace(pid=self.daemon_pid)
        return SimpleNamespace(status=lambda: SimpleNamespace(daemon=daemon))

    def _enable_linger(self, *_: object) -> bool:
        was_lingering, self.lingering = self.lingering, True
        return not was_lingering

    def _status(self, **_: object) -> None:
        click.echo("the status")

    def _target_user(self, _: str) -> Any:
        done = subprocess.CompletedProcess([], self.target_status, "ok \x1b[2J\n", "")
        return SimpleNamespace(
            require_program=lambda *_: None,
            require_configuration=lambda *_: None,
            run=lambda _: done,
        )

    def run(self, *arguments: str) -> int | None:
        status: int | None = _assumed.main(["service", *arguments], standalone_mode=False)
        return status


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_install_starts_the_service_and_shows_its_status(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.run("install")
    printed = capsys.readouterr()
    file = machine.directory / USER_UNIT
    assert printed.out.splitlines() == [
        f"{file}: written",
        "assumed.service: enabled and started",
        "the status",
    ]
    assert "the service stops when you log out" in printed.err
    assert is_generated(file.read_text())
    machine.run("install", "--linger")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{file}: unchanged",
        "assumed.service: enabled and started",
        "lingering enabled; the service starts at boot",
        "the status",
    ]
    assert printed.err == ""
    machine.run("install", "--linger")
    assert "lingering was already enabled" in capsys.readouterr().out


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
    machine.daemon_pid = 812
    machine.systemd.outputs[MAIN_PID] = "0\n"
    with pytest.raises(AlreadyRunningError, match="process ID 812") as raised:
        machine.run("install")
    assert "kill 812" in raised.value.hint
    assert not machine.directory.exists()
    machine.systemd.outputs[MAIN_PID] = "812\n"
    machine.run("install")
    assert "enabled and started" in capsys.readouterr().out, "it is the service's"


@pytest.mark.parametrize("options", [["--linger"], ["--config", "config.yaml"]])
def test_options_of_a_user_exclude_system(machine: Machine, options: list[str]) -> None:
    with pytest.raises(UsageError, match="--system excludes"):
        machine.run("install", "--system", "joe", *options)


@pytest.mark.parametrize("status", [0, 1])
def test_a_system_unit_ends_with_the_status_that_its_user_sees(
    machine: Machine, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    machine.target_status = status
    assert machine.run("install", "--system", "joe") == status
    printed = capsys.readouterr().out
    assert printed.splitlines()[:2] == [
        f"{machine.directory / SYSTEM_UNIT}: written",
        "assumed@joe.service: enabled and started",
    ]
    assert "\x1b" not in printed, "another user's process controls the terminal of root"


def test_uninstall_removes_what_is_installed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    file = machine.directory / USER_UNIT
    machine.run("uninstall")
    assert capsys.readouterr().out == f"{file}: not installed, nothing to remove\n"
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
