from __future__ import annotations

import pytest

from assumed.errors import UsageError
from assumed.platform.systemd.systemctl import hint_without_systemd
from assumed.platform.systemd.unit_file import (
    SYSTEM_UNIT,
    USER_UNIT,
    exec_line,
    is_generated,
    template,
    unit_text,
)

PROGRAM = "/home/jane/.local/bin/assumed"
UNITS = [USER_UNIT, SYSTEM_UNIT]


@pytest.mark.parametrize("name", UNITS)
def test_an_installed_unit_is_the_one_of_this_version_with_another_program(name: str) -> None:
    text = unit_text(name, [PROGRAM, "run"])
    settings = [line for line in text.splitlines() if line and not line.startswith("#")]
    expected = [line for line in template(name).splitlines() if line and not line.startswith("#")]
    at = [line.partition("=")[0] for line in expected].index("ExecStart")
    assert expected[at] != settings[at] == f"ExecStart={PROGRAM} run"
    assert [*expected[:at], *expected[at + 1 :]] == [*settings[:at], *settings[at + 1 :]]
    # What no longer holds: how it is copied, and where others have the program.
    assert "install -" not in text
    assert "pipx" not in text


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_generated_until_somebody_edits_it(name: str) -> None:
    text = unit_text(name, [PROGRAM, "run"])
    assert is_generated(text)
    assert not is_generated(text.replace("WatchdogSec=60", "WatchdogSec=90"))
    assert not is_generated(text + "# mine\n")
    assert not is_generated(template(name))
    assert not is_generated("")


def test_a_unit_of_another_version_is_generated_too() -> None:
    assert is_generated(unit_text(USER_UNIT, ["/somewhere/else/assumed", "run", "--new"]))


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ([PROGRAM, "run"], f"{PROGRAM} run"),
        (["/so far/assumed", "run"], '"/so far/assumed" run'),
        (["/100%/assumed"], '"/100%%/assumed"'),
        # A `$` begins a variable in an argument, and not in the program's own path.
        (["/$HOME/assumed", "--config", "$HOME"], '"/$HOME/assumed" --config "$$HOME"'),
        ([PROGRAM, 'a "b" \\c'], PROGRAM + ' "a \\"b\\" \\\\c"'),
        (["/it's/assumed", "run"], '/usr/bin/env "/it\'s/assumed" run'),
    ],
)
def test_a_command_is_written_as_systemd_reads_it(command: list[str], line: str) -> None:
    assert exec_line(command) == line


@pytest.mark.parametrize("path", ["/two\nlines", "/not\udcffutf-8", "/bell\a"])
def test_a_path_that_no_unit_can_hold_is_refused(path: str) -> None:
    for command in ([path, "run"], [PROGRAM, "run", "--config", path]):
        with pytest.raises(UsageError, match=r"\\"):
            exec_line(command)


def test_windows_subsystem_for_linux_is_told_how_it_has_systemd() -> None:
    assert "/etc/wsl.conf" in hint_without_systemd("5.15.153.1-microsoft-standard-WSL2\n")
    assert "/etc/wsl.conf" not in hint_without_systemd("6.1.0-28-amd64\n")
