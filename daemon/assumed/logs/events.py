"""Events with flat fields, for people and for machines, and nothing secret in either.

An event has a stable name (`profile_refreshed`) and fields (`profile="deploy"`). Callers never
pass a secret; redaction is the second lock on that door, for the texts of libraries.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum, unique
from io import TextIOWrapper
from pathlib import Path

from assumed.fsutil import ensure_private_file

_LOGGER = logging.getLogger("assumed")

_SECRETS = re.compile(
    r"""
    # A value behind one of the names that AWS gives its secrets, in INI, JSON, XML or a URL.
    (?P<name>(?<!</)(?i:secret_?access_?key|(?:session|security)[-_]?token)["']?\s*[:=>]\s*["']?)
      (?:\\/|[^\s"'<,&}\\])+
    # A word of 40 characters in both cases and with a digit, as secret access keys are.
    | (?<![\w/+.-])(?=[A-Z0-9/+]*[a-z])(?=[a-z0-9/+]*[A-Z])(?=[A-Za-z/+]*[0-9])
      [A-Za-z0-9/+]{40}(?![\w/+=.-])
    # A JSON Web Token, as identity providers issue them.
    | (?<![\w.-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    # A long word of base64, as session tokens are.
    | (?<![\w/+.-])[A-Za-z0-9/+]{120,}={0,2}(?![\w/+=.-])
    """,
    re.VERBOSE,
)


_NOTHING = (None, None, None)


@unique
class LogFormat(StrEnum):
    """The values of `--log-format`."""

    TEXT = "text"
    JSON = "json"


def event(
    level: int, name: str, /, *, defect: BaseException | None = None, **fields: object
) -> None:
    """Log one event.

    Args:
        level: a level of `logging`.
        name: what happened, stable, in snake_case.
        defect: an exception whose traceback belongs into the log: a mistake of this program.
        fields: flat values; None is left out.
    """
    if _LOGGER.isEnabledFor(level):
        present = {key: value for key, value in fields.items() if value is not None}
        _LOGGER.log(level, name, extra={"fields": present}, exc_info=defect)


def event_fields(record: logging.LogRecord) -> Mapping[str, object]:
    """Return the fields of an event; of a library's record, an empty mapping."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def event_text(record: logging.LogRecord) -> str:
    """Return an event in one line: its name and `field=value`, nothing secret."""
    fields = (f"{key}={_text(value)}" for key, value in event_fields(record).items())
    return redact(" ".join([_one_line(redact(_name(record))), *fields]))


def traceback_text(record: logging.LogRecord) -> str:
    """Return the traceback of a record, nothing secret; no line of it can be taken for an event."""
    lines = redact(logging.Formatter().formatException(record.exc_info or _NOTHING)).splitlines()
    return "\n".join(f"  | {printable(line)}" for line in lines)


def printable(text: str) -> str:
    """Return text that can't steer a terminal: what is not printable is escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def field_text(value: object) -> str:
    """Return one field's value as text; it is not redacted yet."""
    return str(_json(value))


def redact(text: str) -> str:
    """Return `text` with everything that looks like an AWS secret replaced by `[redacted]`."""
    return _SECRETS.sub(lambda found: f"{found['name'] or ''}[redacted]", text)


def timestamp(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, to the second: `2026-11-24T13:05:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class TextFormatter(logging.Formatter):
    """One line an event, for people: time, level, event, `field=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = " ".join([timestamp(_created(record)), f"{record.levelname:<7}", event_text(record)])
        if record.exc_info:
            text += "\n" + traceback_text(record)
        return text


class JsonFormatter(logging.Formatter):
    """One JSON object an event, for machines: `time`, `level`, `event` and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "time": timestamp(_created(record)),
            "level": record.levelname.lower(),
            "event": _name(record),
            **{key: _json(value) for key, value in event_fields(record).items()},
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        # Before the escapes of JSON can stand between a secret and its name, and after it for
        # what is secret by the name of its field.
        safe = {
            key: redact(value) if isinstance(value, str) else value for key, value in entry.items()
        }
        return redact(json.dumps(safe))


FORMATTERS: Mapping[LogFormat, type[logging.Formatter]] = {
    LogFormat.TEXT: TextFormatter,
    LogFormat.JSON: JsonFormatter,
}


def configure(
    *,
    level: str = "info",
    log_format: LogFormat = LogFormat.TEXT,
    log_file: Path | None = None,
    journal: logging.Handler | None = None,
) -> None:
    """Send events to one place: the journal, a file, or standard error.

    What libraries log is shown from WARNING on whatever the level is: below that botocore and
    urllib3 print requests and answers, and the answer of AssumeRole *is* the secret.

    Args:
        level: `debug`, `info`, `warning` or `error`, for this program's own events.
        log_format: how a line looks; the journal has fields of its own.
        log_file: appended to, and opened anew after it was rotated away.
        journal: a handler for the journal of systemd, used where no file is asked for.

    Raises:
        OSError: `log_file` can't be opened for writing.
    """
    handler: logging.Handler
    if log_file is not None:
        handler = _PrivateFile(log_file, encoding="utf-8", errors="backslashreplace")
    elif journal is not None:
        handler = journal
    else:
        handler = logging.StreamHandler(sys.stderr)
    if handler is not journal:
        handler.setFormatter(FORMATTERS[log_format]())
    # It shows the output of a failing credential_process with a traceback, at each try; what
    # failed is an event of ours, once.
    logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
    # It warns of each connection beyond those that are kept, and that it closes them is meant so:
    # there were more calls at once because some hung.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    root = logging.getLogger()
    handler.addFilter(_without_foreign_traceback)
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(level.upper())


class _PrivateFile(logging.handlers.WatchedFileHandler):
    """A log file that only its owner can read, after it was rotated away too."""

    def _open(self) -> TextIOWrapper:
        ensure_private_file(Path(self.baseFilename))
        return super()._open()


def _without_foreign_traceback(record: logging.LogRecord) -> bool:
    """Take the traceback from a library's warning: what went wrong outside is no defect."""
    if record.name != _LOGGER.name and record.levelno < logging.ERROR and record.exc_info:
        kind = record.exc_info[0]
        record.msg = f"{record.getMessage()} {kind.__name__ if kind else ''}".rstrip()
        record.args = record.exc_info = record.exc_text = None
    return True


def _created(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _name(record: logging.LogRecord) -> str:
    if record.name == _LOGGER.name:
        return record.getMessage()
    return f"{record.name}: {record.getMessage()}"


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def _text(value: object) -> str:
    plain = redact(field_text(value))
    if plain.isascii() and plain.isprintable() and plain and not set(plain) & set(" \"'="):
        return plain
    return _quoted(plain)


def _one_line(text: str) -> str:
    return text if text.isprintable() else _quoted(text)


def _quoted(text: str) -> str:
    # JSON escapes few of the characters that end a line or steer a terminal unless all must be
    # ASCII.
    return json.dumps(text, ensure_ascii=not text.isprintable())
