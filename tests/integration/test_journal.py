"""The journal handler, against real datagram sockets."""

from __future__ import annotations

import array
import fcntl
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from assumed import logs
from assumed.logs.journald import JournalHandler, encode_entry, journal_fields, journal_handler

OTHER_ENTRY = b"MESSAGE=of another program\n"
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Journald:
    """A socket that receives entries as journald does: in a datagram, or in a sealed file."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.seals: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.address)

    def receive(self) -> bytes:
        size = array.array("i").itemsize
        entry, ancillary, *_ = self._socket.recvmsg(1 << 20, socket.CMSG_LEN(size))
        if not ancillary:
            return entry
        assert entry == b"", "journald only takes a file with an empty datagram"
        ((level, kind, data),) = ancillary
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        (descriptor,) = array.array("i", data)
        self.seals.append(fcntl.fcntl(descriptor, fcntl.F_GET_SEALS))
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            return file.read()

    def receive_all(self) -> list[bytes]:
        entries = []
        with suppress(BlockingIOError):
            while True:
                entries.append(self.receive())
        return entries

    def fill(self) -> None:
        """Fill the queue, so that there is no room for another message."""
        with suppress(BlockingIOError):
            while True:
                # A new sender each time: otherwise the limit of the sender comes first.
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.setblocking(False)
                    sender.sendto(OTHER_ENTRY, self.address)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    journald = Journald(tmp_path / "socket")
    yield journald
    journald.close()


def record(**fields: object) -> logging.LogRecord:
    event = {"name": "assumed", "msg": "refresh_failed", "levelno": logging.WARNING}
    return logging.makeLogRecord({**event, "fields": fields})


def test_journal_handler_sends_an_event_as_one_datagram(journald: Journald) -> None:
    event = record(profile="deploy", error="line 1\nline 2")
    JournalHandler(journald.address).emit(event)
    assert journald.receive() == encode_entry(journal_fields(event))
    assert journald.seals == []


def test_journal_handler_sends_what_exceeds_a_datagram_as_a_sealed_file(
    journald: Journald,
) -> None:
    event = record(error="no " * 200_000)
    JournalHandler(journald.address).emit(event)
    assert journald.receive() == encode_entry(journal_fields(event))
    assert journald.seals == [SEALS]


def test_journal_handler_drops_an_event_that_journald_does_not_read(journald: Journald) -> None:
    journald.fill()
    JournalHandler(journald.address, timeout_seconds=0.05).emit(record())
    assert set(journald.receive_all()) == {OTHER_ENTRY}


def test_journal_handler_waits_until_journald_reads(journald: Journald) -> None:
    event = record(profile="deploy")
    journald.fill()
    reader = threading.Timer(0.05, journald.receive)
    reader.start()
    JournalHandler(journald.address, timeout_seconds=30).emit(event)
    reader.join()
    assert journald.receive_all()[-1] == encode_entry(journal_fields(event))


def test_journal_handler_ignores_a_journald_that_is_not_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    JournalHandler(str(tmp_path / "nothing")).emit(record())
    assert capsys.readouterr().err == ""


def test_journal_handler_is_used_if_standard_error_is_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status = os.fstat(2)
    journal = f"{status.st_dev}:{status.st_ino}"
    assert journal_handler({}) is None
    assert journal_handler({"JOURNAL_STREAM": "1:1"}) is None
    handler = journal_handler({"JOURNAL_STREAM": journal})
    assert isinstance(handler, JournalHandler)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        sent: list[logging.LogRecord] = []
        monkeypatch.setattr(handler, "emit", sent.append)
        logs.configure(journal=handler)
        logs.event(logging.ERROR, "something")
        assert [each.getMessage() for each in sent] == ["something"]
    finally:
        root.handlers[:], root.level = before
