from __future__ import annotations

import os
from pathlib import Path

import pytest

from assumed.errors import ServiceManagerError, UsageError
from assumed.platform.systemd import installation
from assumed.platform.systemd.installation import SystemdService, system_service, user_service
from assumed.platform.systemd.systemctl import Systemctl
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT, unit_text
from tests.unit.platform.systemd.fake_systemd import FakeSystemd

TEXT = unit_text(USER_UNIT, ["/usr/bin/assumed", "run"])


@pytest.fixture
def service(systemd: FakeSystemd, tmp_path: Path) -> SystemdService:
    return SystemdService(
        Systemctl(is_user=True), USER_UNIT, tmp_path / "systemd" / "user" / USER_UNIT
    )


def test_install_writes_the_unit_once(service: SystemdService, systemd: FakeSystemd) -> None:
    assert service.install(TEXT)
    assert service.file.read_text() == TEXT
    assert service.file.stat().st_mode & 0o777 == 0o644
    assert not service.install(TEXT)
    assert systemd.commands == ["systemctl --user daemon-reload"] * 2
    other = unit_text(USER_UNIT, ["/elsewhere/assumed", "run"])
    assert service.install(other)
    assert service.file.read_text() == other


def test_start_enables_and_restarts_the_unit(service: SystemdService, systemd: FakeSystemd) -> None:
    service.start()
    assert systemd.commands == [
        "systemctl --user enable assumed.service",
        "systemctl --user restart assumed.service",
    ]


def test_a_unit_that_the_user_edited_is_neither_replaced_nor_removed(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    service.install(TEXT)
    edited = f"{TEXT}# mine\n"
    service.file.write_text(edited)
    systemd.commands.clear()
    with pytest.raises(UsageError, match="was edited since"):
        service.install(TEXT)
    with pytest.raises(UsageError, match="was edited since"):
        service.uninstall()
    assert service.file.read_text() == edited
    assert systemd.commands == []


def test_uninstall_stops_the_unit_and_removes_it(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    assert not service.uninstall()
    assert systemd.commands == []
    service.install(TEXT)
    systemd.commands.clear()
    assert service.uninstall()
    assert not service.file.exists()
    assert systemd.commands == [
        "systemctl --user disable --now assumed.service",
        "systemctl --user show --property=ActiveState --value assumed.service",
        "systemctl --user daemon-reload",
    ]


def test_uninstall_resets_the_failure_of_a_unit(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    service.install(TEXT)
    state = "systemctl --user show --property=ActiveState --value assumed.service"
    systemd.outputs[state] = "failed\n"
    assert service.uninstall()
    assert "systemctl --user reset-failed assumed.service" in systemd.commands


def test_uninstall_keeps_the_template_that_another_user_has_an_instance_of(
    systemd: FakeSystemd, tmp_path: Path
) -> None:
    service = SystemdService(
        Systemctl(is_user=False), "assumed@jane.service", tmp_path / SYSTEM_UNIT
    )
    service.install(unit_text(SYSTEM_UNIT, ["/usr/bin/assumed", "run"]))
    other = tmp_path / "multi-user.target.wants" / "assumed@joe.service"
    other.parent.mkdir()
    other.symlink_to(service.file)
    assert service.uninstall()
    assert service.file.exists()
    assert "systemctl --system disable --now assumed@jane.service" in systemd.commands
    other.unlink()
    assert service.uninstall()
    assert not service.file.exists()


def test_a_unit_file_that_cannot_be_written_or_read_is_an_error(service: SystemdService) -> None:
    service.file.parent.parent.mkdir()
    service.file.parent.write_text("a file instead of a directory")
    with pytest.raises(ServiceManagerError, match="Not a directory"):
        service.install(TEXT)
    service.file.parent.unlink()
    service.file.mkdir(parents=True)
    with pytest.raises(ServiceManagerError, match="Is a directory"):
        service.uninstall()


def test_a_directory_of_another_user_is_not_written_to(
    service: SystemdService, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.getuid() or 54321
    service.file.parent.mkdir(parents=True)
    os.chown(service.file.parent, owner, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UsageError, match=rf"owned by another user \(uid {owner}\)"):
        service.install(TEXT)
    assert not service.file.exists()


@pytest.mark.parametrize(("shown", "pid"), [("812\n", 812), ("0\n", 0), ("", 0)])
def test_main_pid(service: SystemdService, systemd: FakeSystemd, shown: str, pid: int) -> None:
    systemd.outputs["systemctl --user show --property=MainPID --value assumed.service"] = shown
    assert service.main_pid() == pid


def test_missing_variables_are_those_that_the_unit_does_not_have(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    systemd.outputs = {
        "systemctl --user show-environment": "PATH=/bin\nHTTPS_PROXY=http://proxy\n",
        "systemctl --user show --property=Environment --value assumed.service": (
            '"AWS_CONFIG_FILE=/a b" NO_PROXY=x\n'
        ),
    }
    shell = {
        "HTTPS_PROXY": "http://me:secret@proxy",
        "AWS_CONFIG_FILE": "/a b",
        "NO_PROXY": "x",
        "AWS_CA_BUNDLE": "/corp.pem",
        "HTTP_PROXY": "",
        "EDITOR": "ed",
    }
    assert service.missing_variables(shell) == ("AWS_CA_BUNDLE",)


def test_the_commands_for_a_user_name_the_unit_and_its_manager(service: SystemdService) -> None:
    assert service.edit_command() == "systemctl --user edit assumed.service"
    assert service.restart_command() == "systemctl --user restart assumed.service"


@pytest.fixture
def is_booted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "require_systemd", lambda: None)


@pytest.mark.usefixtures("is_booted")
def test_the_unit_of_a_user_is_where_the_user_manager_reads_it(
    systemd: FakeSystemd, tmp_path: Path
) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/user/1000"}
    directory = tmp_path / "systemd" / "user"
    shown = "systemctl --user show --property=UnitPath --value"
    systemd.outputs[shown] = f"/etc/systemd/user {directory}\n"
    service = user_service(environ)
    assert (service.unit, service.file) == (USER_UNIT, directory / USER_UNIT)
    systemd.outputs[shown] = "/etc/systemd/user /home/other/.config/systemd/user\n"
    with pytest.raises(ServiceManagerError, match="does not read unit files from"):
        user_service(environ)


@pytest.mark.usefixtures("is_booted")
def test_a_system_unit_is_an_instance_that_only_root_installs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    service = system_service("jane")
    assert service.unit == "assumed@jane.service"
    assert service.file == Path("/etc/systemd/system/assumed@.service")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root"):
        system_service("jane")
