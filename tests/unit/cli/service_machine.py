"""A machine on which `assumed service` runs, with a systemd that starts nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assumed import __version__
from assumed.app import standalone
from assumed.cli import other_user, service_control, service_install, status
from assumed.cli.main import _assumed
from assumed.errors import ConfigurationError
from assumed.models import DaemonStatus, ProfileState, ProfileStatus, Status
from assumed.platform.systemd import installation
from assumed.platform.systemd.installation import SystemdService
from assumed.platform.systemd.systemctl import Systemctl
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT
from tests.fakes import NOON
from tests.unit.platform.systemd.fake_systemd import FakeSystemd


class Machine:
    """Jane's machine, with her configuration; root can act for other users.

    Attributes:
        manual_daemon: the process ID of a daemon that was started by hand.
        is_daemon_found: whether commands find the daemon of the service while that runs.
        daemon_version: of the daemon of the service.
        profile_state: of the only profile, for Jane and for other users.
        configuration_error: of every configuration.
        user_output: what each command prints that root runs as another user.
        user_commands: these commands.
    """

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.systemd = FakeSystemd()
        self.directory = home / "systemd"
        self.systemd.directories = [self.directory]
        self.config = home / "config.yaml"
        self.manual_daemon: int | None = None
        self.is_daemon_found = True
        self.daemon_version = __version__
        self.profile_state = ProfileState.VALID
        self.is_lingering = self.is_linger_ours = False
        self.configuration_error: ConfigurationError | None = None
        self.user_output = "ok \x1b[2J\n"
        self.user_commands: list[list[str]] = []
        self._set_environment(home, monkeypatch)
        self._replace_names(monkeypatch)

    def run(self, *arguments: str) -> int:
        """Run `assumed service` and return its exit status.

        Raises:
            AssumedError: the one that the command prints.
        """
        exit_status: int | None = _assumed.main(["service", *arguments], standalone_mode=False)
        return exit_status or 0

    def set_user_status(self, *states: str, version: str = __version__) -> None:
        """Make `assumed status --json` of another user print profiles in these states."""
        profiles = [{"profile": "p", "state": state} for state in states]
        self.user_output = json.dumps({"daemon": {"version": version}, "profiles": profiles})

    def _set_environment(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in installation._VARIABLES:
            monkeypatch.delenv(name, raising=False)
        self.config.write_text("profiles: {}\n")
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("ASSUMED_CONFIG", str(self.config))
        monkeypatch.setattr("sys.argv", ["/usr/bin/assumed"])

    def _replace_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        replacements: dict[str, object] = {
            "user_service": self._user_service,
            "system_service": self._system_service,
            "find_daemon": self._find_daemon,
            "connect_to_daemon": self._find_daemon,
            "user_name": lambda: "jane",
            "is_lingering": lambda _: self.is_lingering,
            "enable_linger": self._enable_linger,
            "disable_linger": lambda *_: self.is_linger_ours,
            "TargetUser": self._target_user,
            "require_root": lambda: None,
        }
        for module in (service_install, service_control, other_user, status):
            for name in replacements.keys() & vars(module).keys():
                monkeypatch.setattr(module, name, replacements[name])
        monkeypatch.setattr(subprocess, "run", self.systemd.run)
        monkeypatch.setattr(standalone, "Standalone", self._check_configuration)

    def _check_configuration(self, *_: object) -> None:
        if self.configuration_error is not None:
            raise self.configuration_error

    def _user_service(self, _: object) -> SystemdService:
        return SystemdService(Systemctl(is_user=True), USER_UNIT, self.directory / USER_UNIT)

    def _system_service(self, user: str) -> SystemdService:
        unit = SYSTEM_UNIT.replace("@", f"@{user}")
        return SystemdService(Systemctl(is_user=False), unit, self.directory / SYSTEM_UNIT)

    def _find_daemon(self, *_: object, **__: object) -> Any:
        pid = self.manual_daemon or (self.is_daemon_found and self.systemd.main_pid(USER_UNIT))
        return SimpleNamespace(status=lambda *_: self._status(pid)) if pid else None

    def _status(self, pid: int) -> Status:
        daemon = DaemonStatus(
            pid=pid, version=self.daemon_version, started_at=NOON, config="/config.yaml"
        )
        profile = ProfileStatus(
            profile="deploy", role_arn=None, source="profile base", state=self.profile_state
        )
        return Status(daemon=daemon, profiles=(profile,))

    def _enable_linger(self, *_: object) -> bool:
        was_lingering, self.is_lingering = self.is_lingering, True
        return not was_lingering

    def _target_user(self, name: str) -> Any:
        return SimpleNamespace(
            name=name,
            require_program=lambda *_: None,
            require_configuration=self._check_configuration,
            run=self._run_as_user,
        )

    def _run_as_user(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.user_commands.append(list(command))
        exit_status = int(self.profile_state is not ProfileState.VALID)
        return subprocess.CompletedProcess(command, exit_status, self.user_output, "")
