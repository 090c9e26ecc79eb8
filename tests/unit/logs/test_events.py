from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from assumed.logs.events import LogFormat, configure, event, redact, timestamp
from tests.fakes import LONG_TERM, NOON, issued, role

# Shaped like the real ones; nobody ever issued them.
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjE" + "Abc123/+" * 40 + "=="


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("assumed")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


class Shown:
    """All that went to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    return Shown(capsys)


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_of_text_has_time_level_event_and_fields(shown: Shown) -> None:
    configure()
    event(logging.WARNING, "refresh_failed", profile="deploy", attempt=2, seconds_left=12.5)
    [line] = shown.text.splitlines()
    time, *rest = line.split()
    assert datetime.fromisoformat(time).tzinfo is not None
    assert rest == ["WARNING", "refresh_failed", "profile=deploy", "attempt=2", "seconds_left=12.5"]


def test_a_line_of_json_has_time_level_event_and_fields_of_their_own_types(
    shown: Shown,
) -> None:
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "profile_refreshed", profile="deploy", attempt=1, expiration=NOON, ok=True)
    [line] = json_lines(shown.text)
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
def test_a_field_that_is_none_is_left_out(log_format: LogFormat, shown: Shown) -> None:
    configure(log_format=log_format)
    event(logging.INFO, "profile_refreshed", profile="deploy", error_code=None)
    assert "error_code" not in shown.text


def test_a_time_is_shown_in_utc_to_the_second() -> None:
    moment = datetime(2026, 11, 24, 14, 5, 59, 999999, timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2026-11-24T12:05:59Z"


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
def test_no_value_can_forge_a_second_line_or_steer_a_terminal(
    value: str, log_format: LogFormat, shown: Shown
) -> None:
    configure(log_format=log_format)
    event(logging.INFO, "refresh_failed", error=value, profile="deploy")
    text = shown.text
    assert text.endswith("\n")
    [line] = text.splitlines()
    assert line.isprintable()


@pytest.mark.parametrize("value", ODD_VALUES)
def test_a_value_comes_back_from_json_as_it_was(value: str, shown: Shown) -> None:
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "refresh_failed", error=value)
    [line] = json_lines(shown.text)
    assert line["error"] == value


@pytest.mark.parametrize("value", [value for value in ODD_VALUES if value.isprintable()])
def test_a_value_that_is_no_plain_word_is_one_quoted_word_of_text(value: str, shown: Shown) -> None:
    configure()
    event(logging.INFO, "refresh_failed", error=value, profile="deploy")
    *_, error, profile = split_fields(shown.text)
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
def test_a_librarys_message_can_forge_no_second_line_either(
    log_format: LogFormat, shown: Shown
) -> None:
    configure(log_format=log_format)
    logging.getLogger("urllib3").warning("got %s", "a\n2026-11-24T12:00:00Z INFO    forged")
    [line] = shown.text.splitlines()
    assert "urllib3: got a" in line


@pytest.mark.parametrize(
    "text",
    [
        f"aws_secret_access_key = {SECRET_KEY}",
        "aws_secret_access_key=short-secret",
        "AWS_SECRET_ACCESS_KEY='short-secret'",
        '"SecretAccessKey": "short-secret"',
        '{\\"SecretAccessKey\\": \\"' + SECRET_KEY + '\\"}',
        "<SecretAccessKey>short-secret</SecretAccessKey>",
        "aws_session_token = short-secret",
        "aws_security_token=short-secret",
        '"SessionToken":"short-secret"',
        "<SessionToken>short-secret</SessionToken>",
        "X-Amz-Security-Token=short-secret&X-Amz-Date=20261124T120000Z",
        "X-Amz-Security-Token: short-secret",
        "session-token: short-secret",
        f"the key is {SECRET_KEY}",
        f"key={SECRET_KEY}",
        f'"{SECRET_KEY}"',
        f"({SECRET_KEY})",
        f"the token is {TOKEN}",
        "identity eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.short-secret",
        f"token={TOKEN}",
        f"first line\n{TOKEN}\nlast line",
    ],
)
def test_what_looks_like_a_secret_is_redacted(text: str) -> None:
    redacted = redact(text)
    assert "[redacted]" in redacted
    for secret in (SECRET_KEY, TOKEN, "short-secret"):
        assert secret not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::641879703613:role/s3-read-only-assume-role",
        "arn:aws:sts::641879703613:assumed-role/deploy/assumed-me@build-agent-17.example.com",
        "AKIAIOSFODNN7EXAMPLE",
        "access_key_id=ASIAIOSFODNN7EXAMPLE",
        "d41d8cd98f00b204e9800998ecf8427e",
        "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709, of Nothing",
        "sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "RequestID: c6104cbe-af31-11e0-8154-cbc7ccf896c7",
        "2026-11-24T12:00:00Z",
        "https://sts.eu-west-1.amazonaws.com/",
        "/home/somebody/.config/assumed/config.yaml:12: profiles.deploy.role_arn: missing",
        "profile deploy: the session token has expired",
        "no secret access key in profile deploy",
        "</SessionToken> and more",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_what_was_redacted_once_stays_as_it_is() -> None:
    once = redact(f'{{"SecretAccessKey": "{SECRET_KEY}", "SessionToken": "{TOKEN}"}}')
    assert redact(once) == once


def test_only_the_secret_goes() -> None:
    text = f'"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "{SECRET_KEY}", "Version": 1'
    assert redact(text) == (
        '"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "[redacted]", "Version": 1'
    )


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
def test_a_field_that_holds_a_secret_loses_it_and_the_line_stays_whole(
    text: str, log_format: LogFormat, shown: Shown
) -> None:
    configure(log_format=log_format)
    event(logging.ERROR, "refresh_failed", error=text, profile="deploy")
    logging.getLogger("botocore").warning("%s", text)
    lines = shown.text
    for secret in (SECRET_KEY, TOKEN, "short-secret"):
        assert secret not in lines
    assert len(lines.splitlines()) == 2
    if log_format is LogFormat.JSON:
        assert json_lines(lines)[0]["profile"] == "deploy"
    else:
        assert split_fields(lines.splitlines()[0])[-1] == "profile=deploy"


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_field_that_is_named_like_a_secret_loses_its_value(
    log_format: LogFormat, shown: Shown
) -> None:
    configure(log_format=log_format)
    event(logging.INFO, "a_mistake", session_token="short", aws_secret_access_key="shorter")
    assert "short" not in shown.text


def test_credentials_logged_by_mistake_give_nothing_away(shown: Shown) -> None:
    configure()
    credentials = issued(role("deploy"), NOON)
    event(logging.INFO, "a_mistake", credentials=credentials, caller=LONG_TERM)
    assert credentials.access_key_id in shown.text
    assert "secret-deploy" not in shown.text
    assert "token-deploy" not in shown.text
    assert "long-term-secret" not in shown.text


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_defect_is_told_with_its_traceback_and_without_secrets(
    log_format: LogFormat, shown: Shown
) -> None:
    configure(log_format=log_format)
    try:
        stumble(f"over aws_secret_access_key={SECRET_KEY}")
    except RuntimeError as error:
        event(logging.ERROR, "internal_error", defect=error, profile="deploy")
    text = shown.text
    assert "Traceback (most recent call last)" in text
    assert "in stumble" in text
    assert "RuntimeError: over aws_secret_access_key=[redacted]" in text
    assert SECRET_KEY not in text
    if log_format is LogFormat.JSON:
        [line] = json_lines(text)
        assert str(line["traceback"]).startswith("Traceback")


def stumble(over: str) -> None:
    raise RuntimeError(over)


def test_at_debug_our_own_events_show_and_libraries_stay_at_warning(shown: Shown) -> None:
    configure(level="debug")
    event(logging.DEBUG, "planned", profile="deploy")
    for name in ("botocore", "botocore.parsers", "urllib3.util", "asyncio", "watchdog"):
        logging.getLogger(name).debug("the answer is %s", "private")
        logging.getLogger(name).info("the answer is %s", "private")
        logging.getLogger(name).warning("pool of %s is full", name)
    assert "planned" in shown.text
    assert "private" not in shown.text
    assert shown.text.count("is full") == 5


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_a_level_leaves_out_what_is_below_it(level: str, count: int, shown: Shown) -> None:
    configure(level=level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        event(number, "something")
    assert len(shown.text.splitlines()) == count


def test_configuring_again_replaces_what_was(shown: Shown) -> None:
    configure()
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "something")
    assert len(json_lines(shown.text)) == 1


def test_a_log_file_is_for_its_owner_alone_and_is_appended_to(
    tmp_path: Path, shown: Shown, usual_umask: None
) -> None:
    log_file = tmp_path / "assumed.log"
    for _ in range(2):
        configure(log_file=log_file)
        event(logging.INFO, "something")
        logging.getLogger().handlers[0].close()
    assert log_file.stat().st_mode & 0o777 == 0o600
    assert len(log_file.read_text().splitlines()) == 2
    assert shown.text == ""


def test_a_log_file_is_opened_anew_after_it_was_rotated_away(
    tmp_path: Path, usual_umask: None
) -> None:
    log_file = tmp_path / "assumed.log"
    configure(log_file=log_file)
    event(logging.INFO, "before")
    log_file.rename(tmp_path / "assumed.log.1")
    event(logging.INFO, "after")
    assert "before" in (tmp_path / "assumed.log.1").read_text()
    assert "after" not in (tmp_path / "assumed.log.1").read_text()
    assert "after" in log_file.read_text()
    assert log_file.stat().st_mode & 0o777 == 0o600


def test_a_log_file_takes_any_text(tmp_path: Path) -> None:
    log_file = tmp_path / "assumed.log"
    configure(log_file=log_file)
    try:
        stumble("over half a character \udcff")
    except RuntimeError as error:
        event(logging.ERROR, "internal_error", defect=error, path=Path("köln/\udcff"))
    [line, *_, last] = log_file.read_text(encoding="utf-8").splitlines()
    assert line.endswith('path="k\\u00f6ln/\\udcff"')
    assert last == "  | RuntimeError: over half a character \\udcff"


def test_a_log_file_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        configure(log_file=tmp_path / "nowhere" / "assumed.log")


def test_a_handler_for_the_journal_is_used_where_no_file_is_asked_for(
    tmp_path: Path, shown: Shown
) -> None:
    class Journal(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.events: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.events.append(record.getMessage())

    journal = Journal()
    configure(journal=journal)
    event(logging.INFO, "one")
    configure(journal=journal, log_file=tmp_path / "assumed.log")
    event(logging.INFO, "two")
    assert journal.events == ["one"]
    assert "two" in (tmp_path / "assumed.log").read_text()
    assert shown.text == ""


def test_the_time_of_an_event_is_now_in_utc(shown: Shown) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "something")
    [line] = json_lines(shown.text)
    assert before <= datetime.fromisoformat(str(line["time"])) <= datetime.now(UTC)


def test_no_line_of_a_traceback_can_be_taken_for_an_event(tmp_path: Path) -> None:
    log_file = tmp_path / "assumed.log"
    configure(log_file=log_file)
    try:
        stumble("x\n2026-11-24T12:00:00Z INFO    profile_refreshed profile=forged\x1b[31m")
    except RuntimeError as error:
        event(logging.ERROR, "internal_error", defect=error)
    first, *rest = log_file.read_text().splitlines()
    assert "internal_error" in first
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    assert "forged" in rest[-1]


def test_a_secret_with_escaped_slashes_is_redacted_whole() -> None:
    said = redact(r'{"SecretAccessKey":"wJalrXUtnFEMI\/K7MDENG\/bPxRfiCYEXAMPLEKEY"}')
    assert said == '{"SecretAccessKey":"[redacted]"}'


@pytest.mark.parametrize(
    ("library", "message"),
    [
        ("botocore.credentials", "Refreshing failed: what the process said"),
        ("urllib3.connectionpool", "Connection pool is full, discarding connection"),
    ],
)
def test_a_library_is_silent_where_what_it_warns_of_is_told_or_meant(
    library: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(level="debug")
    logging.getLogger(library).warning(message)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_log_file_of_another_user_is_refused(tmp_path: Path) -> None:
    log_file = tmp_path / "assumed.log"
    log_file.touch()
    os.chown(log_file, 12345, -1)
    with pytest.raises(PermissionError, match="another user"):
        configure(log_file=log_file)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "mine")
    os.chown(link, 12345, -1, follow_symlinks=False)
    with pytest.raises(PermissionError, match="another user"):
        configure(log_file=link)


def test_what_goes_wrong_outside_is_no_traceback_of_a_library(shown: Shown) -> None:
    configure()
    try:
        json.loads("")
    except ValueError:
        logging.getLogger("botocore.tokens").warning("refresh %s", "failed", exc_info=True)
        logging.getLogger("apscheduler").exception("a job failed")
    first, *rest = shown.text.splitlines()
    assert first.endswith("refresh failed JSONDecodeError")
    assert "Traceback" in "\n".join(rest)
