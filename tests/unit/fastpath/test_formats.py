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
# What STS issues has none of this; a format that relied on that would be a hole all the same.
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


def test_the_formats_are_those_of_the_aws_cli() -> None:
    assert list(FORMATS) == [
        "process", "env", "env-no-export", "fish", "powershell", "windows-cmd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ("env", "export AWS_SECRET_ACCESS_KEY=abc/+="),
        ("env-no-export", "AWS_SECRET_ACCESS_KEY=abc/+="),
        ("fish", 'set -gx AWS_SECRET_ACCESS_KEY "abc/+="'),
        ("powershell", '$Env:AWS_SECRET_ACCESS_KEY="abc/+="'),
        ("windows-cmd", "set AWS_SECRET_ACCESS_KEY=abc/+="),
    ],
)
def test_what_sts_issues_is_written_as_the_aws_cli_writes_it(shape: str, line: str) -> None:
    lines = format_credentials(CREDENTIALS, shape).splitlines()
    assert lines[1] == line
    assert [re.findall("AWS_[A-Z_]+", each)[0] for each in lines] == list(VARIABLES)


def test_a_credential_process_gets_expiration_and_account() -> None:
    text = format_credentials(CREDENTIALS, "process")
    assert json.loads(text) == {"Version": 1, **CREDENTIALS}
    assert text == json.dumps({"Version": 1, **CREDENTIALS}, indent=2) + "\n"


@given(PRINTABLE)
def test_any_value_is_json(token: str) -> None:
    assert json.loads(format_credentials(with_token(token), "process"))["SessionToken"] == token


@given(PRINTABLE)
def test_any_value_is_one_word_of_a_posix_shell(token: str) -> None:
    line = format_credentials(with_token(token), "env").splitlines()[2]
    assert shlex.split(line) == ["export", f"AWS_SESSION_TOKEN={token}"]


def powershell_value(literal: str) -> str:
    """Read an expandable string by about_Quoting_Rules: the backtick escapes, `$` expands."""
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
def test_any_value_is_one_string_of_powershell(token: str) -> None:
    line = format_credentials(with_token(token), "powershell").split("\n")[2]
    assert powershell_value(line.removeprefix("$Env:AWS_SESSION_TOKEN=")) == token


def cmd_assignment(line: str) -> str:
    """Read a `set` line by the rules of a batch file.

    `%%` is a percent sign and a single one a variable; outside of quotes `^` escapes and `&|<>()`
    are operators; then `set "` takes what stands before the last quote.
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
def test_any_value_is_one_assignment_of_cmd(token: str) -> None:
    line = format_credentials(with_token(token), "windows-cmd").split("\n")[2]
    assert cmd_assignment(line) == f"AWS_SESSION_TOKEN={token}"


@pytest.mark.parametrize("shape", FORMATS)
@pytest.mark.parametrize("char", ["\n", "\r", "\0", "\x1b", "\u2028"])
def test_a_value_that_would_end_its_line_is_refused(shape: str, char: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        format_credentials(with_token(f"token{char}rm -r ~"), shape)


@pytest.mark.parametrize("shape", FORMATS)
def test_an_awkward_value_stays_in_its_line(shape: str) -> None:
    assert len(format_credentials(with_token(AWKWARD), shape).splitlines()) in {4, 8}
