from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from assumed.logs import LogFormat, configure, event, timestamp
from tests.fakes import LONG_TERM, NOON, issued, role
from tests.unit.logs.conftest import Output

# Shaped like real ones; AWS never issued them.
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


TOKEN = "IQoJb3JpZ2luX2VjE" + "Abc123/+" * 40 + "=="


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_text_formatter_prints_time_level_event_and_fields(output: Output) -> None:
    configure()
    event(logging.WARNING, "refresh_failed", profile="deploy", attempt=2, seconds_left=12.5)
    [line] = output.text.splitlines()
    time, *rest = line.split()
    assert datetime.fromisoformat(time).tzinfo is not None
    assert rest == ["WARNING", "refresh_failed", "profile=deploy", "attempt=2", "seconds_left=12.5"]


def test_json_formatter_keeps_the_types_of_fields(
    output: Output,
) -> None:
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "profile_refreshed", profile="deploy", attempt=1, expiration=NOON, ok=True)
    [line] = json_lines(output.text)
    assert datetime.fromisoformat(str(line.pop("time"))).tzinfo is not None
    assert line == {
        "level": "info",
        "event": "profile_refreshed",
        "profile": "deploy",
        "attempt": 1,
        "expiration": "2026-11-24T12:00:00Z",
        "ok": True,
    }


@pytest.mark.parametrize("log_format", LogFormat)
def test_event_leaves_out_a_field_that_is_none(log_format: LogFormat, output: Output) -> None:
    configure(log_format=log_format)
    event(logging.INFO, "profile_refreshed", profile="deploy", error_code=None)
    assert "error_code" not in output.text


def test_timestamp_is_utc_to_the_second() -> None:
    moment = datetime(2026, 11, 24, 14, 5, 59, 999999, timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2026-11-24T12:05:59Z"


def test_an_event_has_the_current_time(output: Output) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "something")
    [line] = json_lines(output.text)
    assert before <= datetime.fromisoformat(str(line["time"])) <= datetime.now(UTC)


ODD_VALUES = [
    "two words",
    'quoted "twice"',
    "it's",
    "a=b",
    "",
    "first\nsecond",
    "first\r\n2026-11-24T12:00:00Z INFO    forged profile=deploy",
    "next\x85line",
    "paragraph\u2028separator",
    "back\\slash",
    "\x1b[31mred",
    "\x9b31mred",
    "nul\x00",
    "half a character \udcff",
    "köln",
]


@pytest.mark.parametrize("value", ODD_VALUES)
@pytest.mark.parametrize("log_format", LogFormat)
def test_no_value_can_forge_a_second_line_or_control_a_terminal(
    value: str, log_format: LogFormat, output: Output
) -> None:
    configure(log_format=log_format)
    event(logging.INFO, "refresh_failed", error=value, profile="deploy")
    text = output.text
    assert text.endswith("\n")
    [line] = text.splitlines()
    assert line.isprintable()


@pytest.mark.parametrize("value", ODD_VALUES)
def test_json_formatter_keeps_every_value(value: str, output: Output) -> None:
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "refresh_failed", error=value)
    [line] = json_lines(output.text)
    assert line["error"] == value


@pytest.mark.parametrize("value", [value for value in ODD_VALUES if value.isprintable()])
def test_text_formatter_quotes_a_value_that_is_not_a_plain_word(value: str, output: Output) -> None:
    configure()
    event(logging.INFO, "refresh_failed", error=value, profile="deploy")
    *_, error, profile = split_fields(output.text)
    assert profile == "profile=deploy"
    name, _, quoted = error.partition("=")
    assert name == "error"
    assert (json.loads(quoted) if quoted.startswith('"') else quoted) == value


def split_fields(line: str) -> list[str]:
    """Split at blanks outside double quotes, and leave the quotes where they are."""
    fields: list[str] = []
    decoder = json.JSONDecoder()
    rest = line.strip()
    while rest:
        word, _, after = rest.partition(" ")
        name, equals, value = word.partition("=")
        if equals and value.startswith('"'):
            start = len(name) + 1
            _, end = decoder.raw_decode(rest, start)
            word, after = rest[:end], rest[end:].lstrip()
        fields.append(word)
        rest = after.lstrip()
    return fields


@pytest.mark.parametrize("log_format", LogFormat)
def test_the_message_of_a_library_cannot_forge_a_second_line(
    log_format: LogFormat, output: Output
) -> None:
    configure(log_format=log_format)
    logging.getLogger("urllib3").warning("got %s", "a\n2026-11-24T12:00:00Z INFO    forged")
    [line] = output.text.splitlines()
    assert "urllib3: got a" in line


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize(
    "text",
    [
        f"failed: {SECRET_KEY}",
        SECRET_KEY,
        f"lines\n{TOKEN}\n",
        '{"SecretAccessKey": "short-secret", "SessionToken": "short-secret"}',
        '{"SecretAccessKey":\n"short-secret"}',
        'aws_secret_access_key=short-secret"',
        "aws_secret_access_key=short-secret\\",
        "<SessionToken>short-secret</SessionToken>",
    ],
)
def test_a_secret_in_a_field_is_redacted_and_the_line_stays_valid(
    text: str, log_format: LogFormat, output: Output
) -> None:
    configure(log_format=log_format)
    event(logging.ERROR, "refresh_failed", error=text, profile="deploy")
    logging.getLogger("botocore").warning("%s", text)
    lines = output.text
    for secret in (SECRET_KEY, TOKEN, "short-secret"):
        assert secret not in lines
    assert len(lines.splitlines()) == 2
    if log_format is LogFormat.JSON:
        assert json_lines(lines)[0]["profile"] == "deploy"
    else:
        assert split_fields(lines.splitlines()[0])[-1] == "profile=deploy"


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_field_with_the_name_of_a_secret_is_redacted(
    log_format: LogFormat, output: Output
) -> None:
    configure(log_format=log_format)
    event(logging.INFO, "some_event", session_token="short", aws_secret_access_key="shorter")
    assert "short" not in output.text


def test_credentials_in_a_field_show_no_secret(output: Output) -> None:
    configure()
    credentials = issued(role("deploy"), NOON)
    event(logging.INFO, "some_event", credentials=credentials, caller=LONG_TERM)
    assert credentials.access_key_id in output.text
    assert "secret-deploy" not in output.text
    assert "token-deploy" not in output.text
    assert "long-term-secret" not in output.text


@pytest.mark.parametrize("log_format", LogFormat)
def test_an_internal_error_is_logged_with_its_traceback_and_without_secrets(
    log_format: LogFormat, output: Output
) -> None:
    configure(log_format=log_format)
    try:
        fail(f"aws_secret_access_key={SECRET_KEY}")
    except RuntimeError as error:
        event(logging.ERROR, "internal_error", exc_info=error, profile="deploy")
    text = output.text
    assert "Traceback (most recent call last)" in text
    assert "in fail" in text
    assert "RuntimeError: aws_secret_access_key=[redacted]" in text
    assert SECRET_KEY not in text
    if log_format is LogFormat.JSON:
        [line] = json_lines(text)
        assert str(line["traceback"]).startswith("Traceback")


def fail(message: str) -> None:
    raise RuntimeError(message)


def test_no_line_of_a_traceback_looks_like_an_event(tmp_path: Path) -> None:
    log_file = tmp_path / "assumed.log"
    configure(log_file=log_file)
    try:
        fail("x\n2026-11-24T12:00:00Z INFO    profile_refreshed profile=forged\x1b[31m")
    except RuntimeError as error:
        event(logging.ERROR, "internal_error", exc_info=error)
    first, *rest = log_file.read_text().splitlines()
    assert "internal_error" in first
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    assert "forged" in rest[-1]
