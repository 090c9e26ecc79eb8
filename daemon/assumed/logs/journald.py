"""Events straight to systemd's journal, each field of an event a field there.

`journalctl --user -u assumed PROFILE=deploy` shows what became of one profile.

Source: systemd.journal-fields(7); systemd.exec(5), `$JOURNAL_STREAM`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from assumed.logs.events import event_fields
from assumed.logs.formatters import event_text, field_text, traceback_text
from assumed.logs.redaction import redact

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_STANDARD_ERROR = 2


class JournalHandler(logging.Handler):
    """Sends events to the journal.

    Args:
        send: takes the fields of one entry.
    """

    def __init__(self, send: Callable[..., object]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send one event; it must never stop the daemon that this does not work."""
        try:
            self._send(**_entry(record))
        except Exception:  # noqa: BLE001 - logging's own way: tell standard error, and go on
            self.handleError(record)


def journal_handler(environ: Mapping[str, str]) -> JournalHandler | None:
    """Return a handler where standard error is the journal's already; else None."""
    try:
        from cysystemd.journal import send  # noqa: PLC0415 - Linux only

        status = os.fstat(_STANDARD_ERROR)
    except (ImportError, OSError):
        return None
    is_journal = environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return JournalHandler(send) if is_journal else None


def _entry(record: logging.LogRecord) -> dict[str, object]:
    message = event_text(record)
    if record.exc_info:
        message += "\n" + traceback_text(record)
    texts = {key: redact(field_text(value)) for key, value in event_fields(record).items()}
    fields = {f"assumed_{key}": text for key, text in texts.items()}
    if "profile" in texts:
        # What is looked for by hand, as well under a short name.
        fields["profile"] = texts["profile"]
    return {
        "message": message,
        "priority": _PRIORITIES.get(record.levelno, 3),
        "syslog_identifier": "assumed",
        "assumed_event": redact(record.getMessage()),
        **fields,
    }
