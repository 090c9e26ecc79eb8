from __future__ import annotations

import logging
import struct

import pytest

from assumed.logs.journald import encode_entry, journal_fields

SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def record(level: int = logging.WARNING, **fields: object) -> logging.LogRecord:
    event = {"name": "assumed", "msg": "refresh_failed", "levelno": level}
    return logging.makeLogRecord({**event, "fields": fields})


def decoded(entry: bytes) -> dict[str, str]:
    """Read an entry as journald does."""
    fields = {}
    while entry:
        name, _, rest = entry.partition(b"\n")
        (length,) = struct.unpack_from("<Q", rest)
        value, end, entry = rest[8 : 8 + length], rest[8 + length : 9 + length], rest[9 + length :]
        assert end == b"\n"
        fields[name.decode()] = value.decode()
    return fields


def test_journal_fields_has_a_journal_field_for_each_field_of_the_event() -> None:
    assert journal_fields(record(profile="deploy", attempt=2, error=f"got {SECRET_KEY}")) == {
        "MESSAGE": 'refresh_failed profile=deploy attempt=2 error="got [redacted]"',
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "assumed",
        "ASSUMED_EVENT": "refresh_failed",
        "ASSUMED_PROFILE": "deploy",
        "ASSUMED_ATTEMPT": "2",
        "ASSUMED_ERROR": "got [redacted]",
        "PROFILE": "deploy",
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, "7"),
        (logging.INFO, "6"),
        (logging.ERROR, "3"),
        (logging.CRITICAL, "3"),
    ],
)
def test_journal_fields_maps_levels_to_priorities(level: int, priority: str) -> None:
    assert journal_fields(record(level))["PRIORITY"] == priority


def test_journal_fields_adds_the_traceback_to_the_message() -> None:
    try:
        raise RuntimeError(SECRET_KEY)
    except RuntimeError as error:
        failed = record()
        failed.exc_info = (type(error), error, error.__traceback__)
    message = journal_fields(failed)["MESSAGE"]
    assert message.startswith("refresh_failed\n  | Traceback (most recent call last)")
    assert message.endswith("  | RuntimeError: [redacted]")


@pytest.mark.parametrize("value", ["", "one line", "two\nlines", "A=1\nB=2\n", "käse", "\0"])
def test_encode_entry_keeps_every_value(value: str) -> None:
    fields = {"MESSAGE": value, "PROFILE": "deploy"}
    assert decoded(encode_entry(fields)) == fields


def test_encode_entry_escapes_what_is_not_unicode() -> None:
    assert decoded(encode_entry({"MESSAGE": "half \udcff"})) == {"MESSAGE": r"half \udcff"}
