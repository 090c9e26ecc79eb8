"""Events in the systemd journal, with each field of an event as a journal field.

`journalctl --user -u assumed PROFILE=deploy` shows the history of one profile.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL; systemd.journal-fields(7); systemd.exec(5),
`$JOURNAL_STREAM`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Mapping

from assumed.logs.events import event_fields
from assumed.logs.formatters import event_text, field_text, traceback_text
from assumed.logs.redaction import redact

_JOURNAL_SOCKET = "/run/systemd/journal/socket"
# libsystemd waits without a limit, so a stopped journald would stop the daemon too.
_TIMEOUT_SECONDS = 1.0
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_ERROR_PRIORITY = 3
_STANDARD_ERROR = 2
_TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS}


class JournalHandler(logging.Handler):
    """Sends events to the journal.

    An event that the journal does not accept in time is lost: logging must never stop the daemon,
    and standard error leads to the same journal.

    Args:
        address: the socket of journald.
        timeout_seconds: how long to wait for journald.
    """

    def __init__(
        self, address: str = _JOURNAL_SOCKET, *, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        super().__init__()
        self._address = address
        self._timeout_seconds = timeout_seconds

    def emit(self, record: logging.LogRecord) -> None:
        """Send one event."""
        try:
            self._send(encode_entry(journal_fields(record)))
        except OSError:
            return
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)

    def _send(self, entry: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(self._timeout_seconds)
            # Connected, because a wait for room only works on a connected socket (unix(7)).
            sender.connect(self._address)
            try:
                sender.send(entry)
            except OSError as error:
                if error.errno not in _TOO_LARGE:
                    raise
                _send_as_file(sender, entry)


def journal_handler(environ: Mapping[str, str]) -> JournalHandler | None:
    """Return a handler if standard error is connected to the journal; else None."""
    try:
        status = os.fstat(_STANDARD_ERROR)
    except OSError:
        return None
    is_journal = environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return JournalHandler() if is_journal else None


def journal_fields(record: logging.LogRecord) -> dict[str, str]:
    """Return the journal fields of an event, redacted."""
    message = event_text(record)
    if record.exc_info:
        message += "\n" + traceback_text(record)
    texts = {key: redact(field_text(value)) for key, value in event_fields(record).items()}
    fields = {f"ASSUMED_{key.upper()}": text for key, text in texts.items()}
    if "profile" in texts:
        # A short name for the field that people search for.
        fields["PROFILE"] = texts["profile"]
    return {
        "MESSAGE": message,
        "PRIORITY": str(_PRIORITIES.get(record.levelno, _ERROR_PRIORITY)),
        "SYSLOG_IDENTIFIER": "assumed",
        "ASSUMED_EVENT": redact(record.getMessage()),
        **fields,
    }


def encode_entry(fields: Mapping[str, str]) -> bytes:
    """Return the datagram of one journal entry.

    Every value has its length in front of it: unlike `NAME=value` that allows line feeds.
    """
    parts = []
    for name, text in fields.items():
        value = text.encode(errors="backslashreplace")
        parts.append(b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(value)), value))
    return b"".join(parts)


def _send_as_file(sender: socket.socket, entry: bytes) -> None:
    """Send an entry that does not fit into a datagram, as a sealed file in memory.

    journald only maps a file that no process can change any more.
    """
    descriptor = os.memfd_create("assumed-journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(descriptor, "wb", closefd=True) as file:
        file.write(entry)
        file.flush()
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        socket.send_fds(sender, [], [descriptor])
