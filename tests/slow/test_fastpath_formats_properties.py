"""Properties of what tests/unit/fastpath/test_formats.py tests by example."""

from __future__ import annotations

import json
import shlex

from hypothesis import given
from hypothesis import strategies as st

from assumed.fastpath.formats import format_credentials
from tests.unit.fastpath.test_formats import with_token

PRINTABLE = st.text().filter(str.isprintable)


@given(PRINTABLE)
def test_process_format_is_json_for_any_value(token: str) -> None:
    assert json.loads(format_credentials(with_token(token), "process"))["SessionToken"] == token


@given(PRINTABLE)
def test_env_format_is_one_word_of_a_posix_shell_for_any_value(token: str) -> None:
    line = format_credentials(with_token(token), "env").splitlines()[2]
    assert shlex.split(line) == ["export", f"AWS_SESSION_TOKEN={token}"]


def powershell_value(literal: str) -> str:
    """Parse an expandable string by about_Quoting_Rules: the backtick escapes, `$` expands."""
    assert literal[0] == literal[-1] == '"'
    read, is_escaped = "", False
    for char in literal[1:-1]:
        assert is_escaped or char not in '"$\u201c\u201d\u201e'
        if char == "`" and not is_escaped:
            is_escaped = True
            continue
        read, is_escaped = read + char, False
    assert not is_escaped
    return read


@given(PRINTABLE)
def test_powershell_format_is_one_string_for_any_value(token: str) -> None:
    line = format_credentials(with_token(token), "powershell").split("\n")[2]
    assert powershell_value(line.removeprefix("$Env:AWS_SESSION_TOKEN=")) == token


def cmd_assignment(line: str) -> str:
    """Parse a `set` line by the rules of a batch file.

    `%%` is a percent sign and a single `%` starts a variable; outside quotes `^` escapes and
    `&|<>()` are operators; `set "` takes everything up to the last quote.
    """
    assert "%" not in line.replace("%%", "")
    read, is_quoted, is_escaped = "", False, False
    for char in line.replace("%%", "%"):
        if is_escaped:
            read, is_escaped = read + char, False
        elif char == "^" and not is_quoted:
            is_escaped = True
        else:
            assert is_quoted or char not in "&|<>()"
            is_quoted ^= char == '"'
            read += char
    arguments = read.removeprefix("set ")
    return arguments[1 : arguments.rindex('"')] if arguments.startswith('"') else arguments


@given(PRINTABLE.filter(bool))
def test_windows_cmd_format_is_one_assignment_for_any_value(token: str) -> None:
    line = format_credentials(with_token(token), "windows-cmd").split("\n")[2]
    assert cmd_assignment(line) == f"AWS_SESSION_TOKEN={token}"
