from __future__ import annotations

import pytest

from assumed.platform.systemd.process_unit import stop_command_for

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
