from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from assumed.errors import ServiceManagerError
from assumed.platform.systemd.systemctl import (
    Systemctl,
    require_systemd,
    require_user_manager,
    run_command,
)
from tests.unit.platform.systemd.fake_systemd import FakeSystemd


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (subprocess.TimeoutExpired("systemctl", 30), "`systemctl stop x`: no response within 30 s"),
        (FileNotFoundError(2, "No such file or directory"), "`systemctl stop x`: No such file"),
        ("Unit x not loaded.\n", "`systemctl stop x`: Unit x not loaded."),
        ("", "`systemctl stop x`: exit status 1"),
    ],
)
def test_a_command_that_fails_is_an_error_with_its_reason(
    systemd: FakeSystemd, error: Exception | str, message: str
) -> None:
    systemd.error = error
    with pytest.raises(ServiceManagerError) as raised:
        run_command("systemctl", "stop", "x", hint="see the log")
    assert raised.value.message.startswith(message)
    assert raised.value.hint == "see the log"


@pytest.mark.parametrize(
    ("is_user", "command"),
    [(True, "`journalctl --user -u u -n 20`"), (False, "`journalctl -u u -n 20`")],
)
def test_a_unit_that_does_not_start_has_its_log_as_the_hint(
    systemd: FakeSystemd, is_user: bool, command: str
) -> None:
    systemd.error = "Job for u failed."
    with pytest.raises(ServiceManagerError) as raised:
        Systemctl(is_user=is_user).restart("u")
    assert raised.value.hint.startswith(command)
    with pytest.raises(ServiceManagerError) as raised:
        Systemctl(is_user=is_user).reload()
    assert "assumed run" in raised.value.hint


def test_a_machine_without_systemd_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ServiceManagerError, match="no systemctl on this machine"):
        require_systemd()
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/systemctl")
    monkeypatch.setattr(Path, "is_dir", lambda _: False)
    with pytest.raises(ServiceManagerError, match="systemd does not run this machine"):
        require_systemd()
    monkeypatch.setattr(Path, "is_dir", lambda path: str(path) == "/run/systemd/system")
    require_systemd()


@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"])
def test_the_user_manager_is_found_by_either_variable(name: str) -> None:
    require_user_manager({name: "/run/user/1000"})


def test_the_hint_without_a_user_manager_depends_on_how_root_was_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ServiceManagerError, match="no user manager under sudo") as raised:
        require_user_manager({"SUDO_USER": "jane"})
    assert "without sudo to install it for jane" in raised.value.hint
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ServiceManagerError, match="as after `su`") as raised:
        require_user_manager({})
    assert "machinectl shell" in raised.value.hint
