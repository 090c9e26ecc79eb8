"""Formatters: an event as a line of text or of JSON, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum, unique

from assumed.logs.events import event_fields, event_name
from assumed.logs.redaction import redact
from assumed.text import printable

_NO_EXCEPTION = (None, None, None)


@unique
class LogFormat(StrEnum):
    """The values of `--log-format`."""

    TEXT = "text"
    JSON = "json"


class TextFormatter(logging.Formatter):
    """One line per event, for people: time, level, event, `field=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it if there is one."""
        text = " ".join([timestamp(_created(record)), f"{record.levelname:<7}", event_text(record)])
        if record.exc_info:
            text += "\n" + traceback_text(record)
        return text


class JsonFormatter(logging.Formatter):
    """One JSON object per event, for machines: `time`, `level`, `event` and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "time": timestamp(_created(record)),
            "level": record.levelname.lower(),
            "event": event_name(record),
            **{key: _json_value(value) for key, value in event_fields(record).items()},
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        # Redact each value before JSON escapes can separate a secret from its name, and the whole
        # line afterwards, for values that only the name of their field shows to be secret.
        safe = {
            key: redact(value) if isinstance(value, str) else value for key, value in entry.items()
        }
        return redact(json.dumps(safe))


FORMATTERS: Mapping[LogFormat, type[logging.Formatter]] = {
    LogFormat.TEXT: TextFormatter,
    LogFormat.JSON: JsonFormatter,
}


def event_text(record: logging.LogRecord) -> str:
    """Return an event as one line, redacted: its name and `field=value`."""
    fields = (f"{key}={_field(value)}" for key, value in event_fields(record).items())
    return redact(" ".join([_one_line(redact(event_name(record))), *fields]))


def traceback_text(record: logging.LogRecord) -> str:
    """Return the traceback of a record, redacted.

    Every line is prefixed, so that no text in an exception can forge an event.
    """
    text = logging.Formatter().formatException(record.exc_info or _NO_EXCEPTION)
    return "\n".join(f"  | {printable(line)}" for line in redact(text).splitlines())


def field_text(value: object) -> str:
    """Return the value of a field as text, not redacted."""
    return str(_json_value(value))


def timestamp(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, to the second: `2026-11-24T13:05:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _created(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def _field(value: object) -> str:
    plain = redact(field_text(value))
    if plain.isascii() and plain.isprintable() and plain and not set(plain) & set(" \"'="):
        return plain
    return _quoted(plain)


def _one_line(text: str) -> str:
    return text if text.isprintable() else _quoted(text)


def _quoted(text: str) -> str:
    # Without ensure_ascii, JSON escapes only a few of the characters that end a line or control
    # a terminal.
    return json.dumps(text, ensure_ascii=not text.isprintable())
