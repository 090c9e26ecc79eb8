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
def test_unit_text_changes_only_the_program_of_the_template(name: str) -> None:
    text = unit_text(name, [PROGRAM, "run"])
    settings = [line for line in text.splitlines() if line and not line.startswith("#")]
    expected = [line for line in template(name).splitlines() if line and not line.startswith("#")]
    at = [line.partition("=")[0] for line in expected].index("ExecStart")
    assert expected[at] != settings[at] == f"ExecStart={PROGRAM} run"
    assert [*expected[:at], *expected[at + 1 :]] == [*settings[:at], *settings[at + 1 :]]
    # Comments of the template that do not apply to an installed unit.
    assert "install -" not in text
    assert "pipx" not in text


@pytest.mark.parametrize("name", UNITS)
def test_is_generated_detects_an_edited_unit(name: str) -> None:
    text = unit_text(name, [PROGRAM, "run"])
    assert is_generated(text)
    assert not is_generated(text.replace("WatchdogSec=60", "WatchdogSec=90"))
    assert not is_generated(text + "# mine\n")
    assert not is_generated(template(name))
    assert not is_generated("")


def test_is_generated_accepts_a_unit_of_another_version() -> None:
    assert is_generated(unit_text(USER_UNIT, ["/somewhere/else/assumed", "run", "--new"]))


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ([PROGRAM, "run"], f"{PROGRAM} run"),
        (["/a b/assumed", "run"], '"/a b/assumed" run'),
        (["/100%/assumed"], '"/100%%/assumed"'),
        # `$` starts a variable in an argument, but not in the path of the program.
        (["/$HOME/assumed", "--config", "$HOME"], '"/$HOME/assumed" --config "$$HOME"'),
        ([PROGRAM, 'a "b" \\c'], PROGRAM + ' "a \\"b\\" \\\\c"'),
        (["/it's/assumed", "run"], '/usr/bin/env "/it\'s/assumed" run'),
    ],
)
def test_exec_line_quotes_as_systemd_reads(command: list[str], line: str) -> None:
    assert exec_line(command) == line


@pytest.mark.parametrize("path", ["/two\nlines", "/not\udcffutf-8", "/bell\a"])
def test_exec_line_rejects_a_path_that_a_unit_cannot_contain(path: str) -> None:
    for command in ([path, "run"], [PROGRAM, "run", "--config", path]):
        with pytest.raises(UsageError, match=r"\\"):
            exec_line(command)


def test_the_hint_for_wsl_enables_systemd() -> None:
    assert "/etc/wsl.conf" in hint_without_systemd("5.15.153.1-microsoft-standard-WSL2\n")
    assert "/etc/wsl.conf" not in hint_without_systemd("6.1.0-28-amd64\n")
