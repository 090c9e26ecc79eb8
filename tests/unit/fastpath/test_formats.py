from __future__ import annotations

import json
import re

import pytest

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
