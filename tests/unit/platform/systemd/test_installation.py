from __future__ import annotations

import os
from pathlib import Path

import pytest

from assumed.errors import ServiceManagerError, UsageError
from assumed.platform.systemd import installation
from assumed.platform.systemd.installation import SystemdService, system_service, user_service
from assumed.platform.systemd.systemctl import Systemctl
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT, unit_text
from assumed.platform.systemd.unit_state import UnitChange
from tests.unit.platform.systemd.fake_systemd import MAIN_PID, FakeSystemd

TEXT = unit_text(USER_UNIT, ["/usr/bin/assumed", "run"])


@pytest.fixture
def service(systemd: FakeSystemd, tmp_path: Path) -> SystemdService:
    directory = tmp_path / "systemd" / "user"
    systemd.directories = [directory, tmp_path / "package"]
    return SystemdService(Systemctl(is_user=True), USER_UNIT, directory / USER_UNIT)


@pytest.fixture
def packaged(service: SystemdService, tmp_path: Path) -> Path:
    """A unit file of a package, which starts the same program."""
    file = tmp_path / "package" / USER_UNIT
    file.parent.mkdir()
    file.write_text("[Service]\nExecStart=/usr/bin/assumed run\n")
    return file


def test_install_writes_the_unit_once(service: SystemdService, systemd: FakeSystemd) -> None:
    assert service.install(TEXT) == UnitChange(service.file, "written")
    assert service.file.read_text() == TEXT
    assert service.file.stat().st_mode & 0o777 == 0o644
    assert service.install(TEXT) == UnitChange(service.file, "unchanged")
    assert systemd.changes() == ["systemctl --user daemon-reload"] * 2


def test_install_shows_the_settings_that_it_rewrites(service: SystemdService) -> None:
    service.install(TEXT)
    other = unit_text(USER_UNIT, ["/elsewhere/assumed", "run"])
    settings = ("- ExecStart=/usr/bin/assumed run", "+ ExecStart=/elsewhere/assumed run")
    assert service.install(other) == UnitChange(service.file, "rewritten", settings)
    assert service.file.read_text() == other


def test_install_uses_the_unit_of_a_package_that_starts_this_program(
    service: SystemdService, packaged: Path
) -> None:
    assert service.install(TEXT) == UnitChange(packaged, "installed by a package")
    assert not service.file.exists()
    packaged.write_text("[Service]\nExecStart=/elsewhere/assumed run\n")
    assert service.install(TEXT) == UnitChange(service.file, "written")


def test_start_enables_and_restarts_the_unit(service: SystemdService, systemd: FakeSystemd) -> None:
    service.install(TEXT)
    systemd.commands.clear()
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
    assert systemd.changes() == []
    service.install(TEXT)
    service.start()
    systemd.commands.clear()
    assert service.uninstall()
    assert not service.file.exists()
    assert systemd.changes() == [
        "systemctl --user stop assumed.service",
        "systemctl --user disable assumed.service",
        "systemctl --user daemon-reload",
    ]


def test_uninstall_resets_the_failure_of_a_unit(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    service.install(TEXT)
    systemd.set(USER_UNIT, ActiveState="failed")
    assert service.uninstall()
    assert "systemctl --user reset-failed assumed.service" in systemd.commands
    assert not service.uninstall()


def test_uninstall_stops_a_unit_whose_file_is_gone(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    service.install(TEXT)
    service.start()
    link = service.file.parent / "default.target.wants" / service.unit
    link.parent.mkdir()
    link.symlink_to(service.file)
    service.file.unlink()
    systemd.commands.clear()
    assert service.uninstall()
    assert not link.is_symlink()
    assert systemd.changes() == [
        "systemctl --user stop assumed.service",
        "systemctl --user daemon-reload",
    ]
    assert not service.uninstall()


def test_uninstall_keeps_the_unit_file_of_a_package(
    service: SystemdService, packaged: Path, systemd: FakeSystemd
) -> None:
    service.install(TEXT)
    service.start()
    assert service.uninstall()
    assert packaged.exists()
    assert systemd.changes()[-3:] == [
        "systemctl --user stop assumed.service",
        "systemctl --user disable assumed.service",
        "systemctl --user daemon-reload",
    ]


def test_uninstall_keeps_the_template_that_another_user_has_an_instance_of(
    systemd: FakeSystemd, tmp_path: Path
) -> None:
    systemd.directories = [tmp_path]
    service = SystemdService(
        Systemctl(is_user=False), "assumed@jane.service", tmp_path / SYSTEM_UNIT
    )
    service.install(unit_text(SYSTEM_UNIT, ["/usr/bin/assumed", "run"]))
    other = tmp_path / "multi-user.target.wants" / "assumed@joe.service"
    other.parent.mkdir()
    other.symlink_to(service.file)
    assert service.uninstall()
    assert service.file.exists()
    assert "systemctl --system disable assumed@jane.service" in systemd.commands
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


def test_state_of_a_unit_that_is_installed_started_and_fails(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    state = service.state()
    assert (state.is_installed, state.file, state.active, state.pid) == (False, "", "inactive", 0)
    service.install(TEXT)
    state = service.state()
    assert (state.is_installed, state.file) == (True, str(service.file))
    assert (state.enabled, state.since) == ("disabled", "")
    service.start()
    times = {"ActiveEnterTimestamp": "12:00", "StateChangeTimestamp": "12:05"}
    systemd.set(USER_UNIT, NRestarts="3", **times)
    state = service.state()
    assert (state.active, state.sub, state.enabled) == ("active", "running", "enabled")
    assert (state.pid, state.restarts, state.since) == (MAIN_PID, 3, "12:00")
    systemd.set(USER_UNIT, ActiveState="failed", Result="exit-code", MainPID="0")
    state = service.state()
    assert (state.active, state.result, state.pid) == ("failed", "exit-code", 0)
    assert state.since == "12:05"


def test_a_property_that_systemd_does_not_know_is_empty(
    service: SystemdService, systemd: FakeSystemd
) -> None:
    systemd.set(USER_UNIT, MainPID="", NRestarts="")
    state = service.state()
    assert (state.pid, state.restarts, state.since) == (0, 0, "")


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
