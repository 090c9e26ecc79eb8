from __future__ import annotations

import pytest

from assumed.platform.systemd.process_unit import restart_advice_for, stop_command_for

USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("cgroups", "command"),
    [
        (f"0::{USER}/app.slice/assumed.service\n", "systemctl --user stop assumed"),
        (
            "0::/system.slice/system-assumed.slice/assumed@jane.service\n",
            "sudo systemctl stop assumed@jane",
        ),
        (f"1:name=systemd:{USER}/assumed.service\n0::/\n", "systemctl --user stop assumed"),
        (f"0::{USER}/app.slice/app-org.gnome.Terminal.slice/vte-spawn.scope\n", "kill 7"),
        ("0::/system.slice/ssh.service\n", "kill 7"),
        ("", "kill 7"),
    ],
)
def test_stop_command_names_the_unit_of_the_process(cgroups: str, command: str) -> None:
    assert stop_command_for(7, cgroups) == command


@pytest.mark.parametrize(
    ("cgroups", "advice"),
    [
        (f"0::{USER}/app.slice/assumed.service\n", "`assumed service restart`"),
        (
            "0::/system.slice/system-assumed.slice/assumed@jane.service\n",
            "`sudo assumed service restart --system jane`",
        ),
        (f"0::{USER}/assumed-mine.service\n", "`systemctl --user restart assumed-mine`"),
        ("0::/system.slice/assumed.service\n", "`sudo systemctl restart assumed`"),
        ("0::/system.slice/ssh.service\n", "stop it (`kill 7`) and start it again"),
    ],
)
def test_restart_advice_names_the_command_for_the_unit(cgroups: str, advice: str) -> None:
    assert restart_advice_for(7, cgroups) == advice
