from __future__ import annotations

from pathlib import Path

import pytest

from assumed.errors import ServiceManagerError
from assumed.platform.systemd import linger
from assumed.platform.systemd.linger import disable_linger, enable_linger, is_lingering
from tests.unit.platform.systemd.fake_systemd import FakeSystemd


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logind records the users who linger."""
    directory = tmp_path / "linger"
    directory.mkdir()
    monkeypatch.setattr(linger, "_LINGERING_USERS", directory)
    return directory


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path)}


def test_lingering_that_was_enabled_here_is_disabled_once(
    systemd: FakeSystemd, users: Path, environ: dict[str, str]
) -> None:
    assert not is_lingering("jane")
    assert enable_linger("jane", environ)
    assert disable_linger("jane", environ)
    assert not disable_linger("jane", environ)
    assert systemd.commands == ["loginctl enable-linger jane", "loginctl disable-linger jane"]


def test_lingering_of_the_user_is_left_alone(
    systemd: FakeSystemd, users: Path, environ: dict[str, str]
) -> None:
    (users / "jane").touch()
    assert is_lingering("jane")
    assert not enable_linger("jane", environ)
    assert not disable_linger("jane", environ)
    assert systemd.commands == []


def test_a_user_who_may_not_enable_it_gets_the_command_for_root(
    systemd: FakeSystemd, users: Path, environ: dict[str, str]
) -> None:
    systemd.error = "Could not enable linger: Access denied\n"
    with pytest.raises(ServiceManagerError, match="Access denied") as raised:
        enable_linger("jane", environ)
    assert raised.value.hint == "root can do it: `sudo loginctl enable-linger jane`"
    systemd.error = None
    assert not disable_linger("jane", environ), "it was never enabled"
