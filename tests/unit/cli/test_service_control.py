"""`assumed service status`, `restart` and `logs`: what they print and refuse."""

from __future__ import annotations

import json
import os

import pytest

from assumed import __version__
from assumed.errors import InvalidConfigurationError, ServiceManagerError, UsageError
from assumed.models import ProfileState
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT
from tests.unit.cli.service_machine import Machine
from tests.unit.platform.systemd.fake_systemd import MAIN_PID

JOE = ("--system", "joe")
UNIT_OF_JOE = "assumed@joe.service"
RESTART = "systemctl --user restart assumed.service"


def installed(machine: Machine, capsys: pytest.CaptureFixture[str], *options: str) -> None:
    machine.run("install", *options)
    capsys.readouterr()
    machine.systemd.commands.clear()
    machine.user_commands.clear()


@pytest.mark.parametrize(("options", "unit"), [((), USER_UNIT), (JOE, UNIT_OF_JOE)])
def test_status_without_a_unit_names_the_command_that_installs_it(
    machine: Machine, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], unit: str
) -> None:
    assert machine.run("status", *options) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{unit}: inactive (dead)\n  not installed\n"
    command = " ".join(("assumed service install", *options))
    assert printed.err == f"  `{command}` installs and starts it\n"


@pytest.mark.parametrize(
    ("is_lingering", "when"), [(True, "starts at boot"), (False, "stops at logout; ")]
)
def test_status_shows_the_unit_and_the_profiles(
    machine: Machine, capsys: pytest.CaptureFixture[str], is_lingering: bool, when: str
) -> None:
    installed(machine, capsys)
    machine.is_lingering = is_lingering
    machine.systemd.set(USER_UNIT, NRestarts="2", ActiveEnterTimestamp="Tue 12:00")
    assert machine.run("status") == 0
    unit, file, start, restarts, empty, *table = capsys.readouterr().out.splitlines()
    assert unit == f"assumed.service: active (running) since Tue 12:00, process {MAIN_PID}"
    assert file == f"  unit file: {machine.directory / USER_UNIT}, enabled"
    assert start.startswith(f"  {when}")
    assert restarts == "  restarts after failures: 2"
    assert empty == ""
    assert table[1].startswith("deploy ")
    assert machine.systemd.changes() == []


def test_status_of_a_failed_unit_says_why_and_what_to_do(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(machine, capsys)
    machine.systemd.set(USER_UNIT, ActiveState="failed", Result="exit-code", MainPID="0")
    assert machine.run("status") == 1
    printed = capsys.readouterr()
    assert "  failed: exit-code\n" in printed.out
    assert "`assumed service logs` shows why; `assumed service restart` starts it" in printed.err


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize(
    ("state", "exit_status"),
    [
        (ProfileState.VALID, 0),
        (ProfileState.PENDING, 0),
        (ProfileState.FAILING, 1),
        (ProfileState.EXPIRED, 1),
        (ProfileState.NEEDS_LOGIN, 1),
    ],
)
def test_status_fails_if_a_profile_does(
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    state: ProfileState,
    exit_status: int,
    options: tuple[str, ...],
) -> None:
    installed(machine, capsys)
    machine.profile_state = state
    assert machine.run("status", *options) == exit_status


def test_status_names_the_log_if_the_daemon_listens_elsewhere(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(machine, capsys)
    machine.is_daemon_found = False
    with pytest.raises(ServiceManagerError, match="does not listen where") as raised:
        machine.run("status")
    assert raised.value.hint.startswith("`assumed service logs` shows the socket")
    capsys.readouterr()
    assert machine.run("status", "--json") == 1
    assert json.loads(capsys.readouterr().out)["status"] is None


def test_status_as_json_has_the_unit_and_the_profiles(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run("status", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["load_state"], found["file"], found["pid"]) == ("not-found", None, None)
    assert (found["enabled"], found["status"]) == (False, None)
    installed(machine, capsys)
    machine.run("status", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found.pop("status")["profiles"][0]["profile"] == "deploy"
    assert found == {
        "version": 1,
        "unit": USER_UNIT,
        "file": str(machine.directory / USER_UNIT),
        "load_state": "loaded",
        "active_state": "active",
        "sub_state": "running",
        "enabled": True,
        "result": "success",
        "pid": MAIN_PID,
        "restarts": 0,
    }


@pytest.mark.parametrize(("state", "exit_status"), [("valid", 0), ("failing", 1)])
def test_status_of_a_system_unit_is_the_one_that_its_user_sees(
    machine: Machine, capsys: pytest.CaptureFixture[str], state: str, exit_status: int
) -> None:
    installed(machine, capsys, *JOE)
    machine.profile_state = ProfileState(state)
    assert machine.run("status", *JOE) == exit_status
    printed = capsys.readouterr().out
    assert f"  unit file: {machine.directory / SYSTEM_UNIT}, enabled\n" in printed
    assert "at logout" not in printed, "a system unit does not depend on logins"
    assert "ok " in printed
    assert "\x1b" not in printed
    machine.set_user_status(state)
    assert machine.run("status", *JOE, "--json") == exit_status
    found = json.loads(capsys.readouterr().out)
    assert (found["unit"], found["status"]["profiles"][0]["state"]) == (UNIT_OF_JOE, state)
    assert machine.user_commands == [
        ["/usr/bin/assumed", "status"],
        ["/usr/bin/assumed", "status", "--json"],
    ]


@pytest.mark.parametrize("output", ["", "[]", "{}", '{"profiles": 1}', '{"profiles": [{}]}'])
def test_root_does_not_trust_the_json_of_another_user(
    machine: Machine, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    installed(machine, capsys, *JOE)
    machine.user_output = output
    assert machine.run("status", *JOE, "--json") == 1
    assert json.loads(capsys.readouterr().out)["unit"] == UNIT_OF_JOE


@pytest.mark.parametrize(("options", "manager"), [((), "--user"), (JOE, "--system")])
def test_restart_restarts_the_unit(
    machine: Machine, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], manager: str
) -> None:
    installed(machine, capsys, *options)
    unit = UNIT_OF_JOE if options else USER_UNIT
    assert machine.run("restart", *options) == 0
    assert capsys.readouterr().out == f"{unit}: restarted, version {__version__}\n"
    assert machine.systemd.changes() == [f"systemctl {manager} restart {unit}"]
    assert machine.run("restart", "--quiet", *options) == 0
    assert capsys.readouterr().out == ""


def test_restart_without_a_unit_names_the_command_that_installs_it(machine: Machine) -> None:
    for options, command in (((), "install`"), (JOE, "install --system joe`")):
        with pytest.raises(UsageError, match="is not installed") as raised:
            machine.run("restart", *options)
        assert raised.value.hint == f"run `assumed service {command}"
    assert machine.systemd.changes() == []


@pytest.mark.parametrize("options", [(), JOE])
def test_restart_with_a_wrong_configuration_keeps_the_daemon(
    machine: Machine, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    installed(machine, capsys, *options)
    machine.configuration_error = InvalidConfigurationError(["wrong"], hint="correct it")
    with pytest.raises(InvalidConfigurationError, match="wrong") as raised:
        machine.run("restart", *options)
    assert machine.systemd.changes() == []
    if not options:
        assert "nothing was restarted" in raised.value.hint


def test_restart_of_a_unit_that_does_not_run_starts_it(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(machine, capsys)
    machine.systemd.set(USER_UNIT, ActiveState="failed", MainPID="0")
    machine.run("restart")
    assert machine.systemd.changes() == [RESTART]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], ["--user-unit=assumed.service"]),
        (["deploy"], ["--user-unit=assumed.service", "PROFILE=deploy"]),
        (["-f"], ["--user-unit=assumed.service", "--follow"]),
        (
            [*JOE, "--follow", "deploy"],
            ["--unit=assumed@joe.service", "--follow", "PROFILE=deploy"],
        ),
    ],
)
def test_logs_becomes_journalctl(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, arguments: list[str], command: list[str]
) -> None:
    executed: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execvp", lambda *call: executed.append(call))
    machine.run("logs", *arguments)
    assert executed == [("journalctl", ["journalctl", *command])]


def test_logs_without_journalctl_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "execvp", fail)
    with pytest.raises(ServiceManagerError, match="journalctl: No such file"):
        machine.run("logs")
