from __future__ import annotations

import json
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assumed.fastpath.formats import FORMATS, format_credentials

CREDENTIALS = {
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "abc/+=",
    "SessionToken": "IQoJ//+==",
    "Expiration": "2026-11-24T13:00:00Z",
    "AccountId": "111122223333",
}
# STS issues nothing like this; a format must not rely on that.
AWKWARD = (
    """ it's "quoted" $HOME `id` $(id) %PATH% a=b & | < > ^ ( ) ! ; * \\ \u201ccurly\u201d # ~ """
)
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
)
PRINTABLE = st.text().filter(str.isprintable)


def with_token(token: str) -> dict[str, str]:
    return {**CREDENTIALS, "SessionToken": token}


def test_formats_are_those_of_the_aws_cli() -> None:
    assert list(FORMATS) == [
        "process", "env", "env-no-export", "fish", "powershell", "windows-cmd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output_format", "line"),
    [
        ("env", "export AWS_SECRET_ACCESS_KEY=abc/+="),
        ("env-no-export", "AWS_SECRET_ACCESS_KEY=abc/+="),
        ("fish", 'set -gx AWS_SECRET_ACCESS_KEY "abc/+="'),
        ("powershell", '$Env:AWS_SECRET_ACCESS_KEY="abc/+="'),
        ("windows-cmd", "set AWS_SECRET_ACCESS_KEY=abc/+="),
    ],
)
def test_format_credentials_writes_the_lines_of_the_aws_cli(output_format: str, line: str) -> None:
    lines = format_credentials(CREDENTIALS, output_format).splitlines()
    assert lines[1] == line
    assert [re.findall("AWS_[A-Z_]+", each)[0] for each in lines] == list(VARIABLES)


@pytest.mark.parametrize("value", ["=ls", "==ls", "a:=ls"])
@pytest.mark.parametrize("output_format", ["env", "env-no-export"])
def test_env_quotes_what_zsh_would_expand(output_format: str, value: str) -> None:
    assert f"AWS_SESSION_TOKEN='{value}'" in format_credentials(with_token(value), output_format)


def test_process_format_has_the_expiration_and_the_account() -> None:
    text = format_credentials(CREDENTIALS, "process")
    assert json.loads(text) == {"Version": 1, **CREDENTIALS}
    assert text == json.dumps({"Version": 1, **CREDENTIALS}, indent=2) + "\n"


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


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("char", ["\n", "\r", "\0", "\x1b", "\u2028"])
def test_format_credentials_rejects_a_value_that_would_end_its_line(
    output_format: str, char: str
) -> None:
    with pytest.raises(ValueError, match="control character"):
        format_credentials(with_token(f"token{char}rm -r ~"), output_format)


@pytest.mark.parametrize("output_format", FORMATS)
def test_format_credentials_keeps_an_awkward_value_on_its_line(output_format: str) -> None:
    assert len(format_credentials(with_token(AWKWARD), output_format).splitlines()) in {4, 8}
