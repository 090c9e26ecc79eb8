from __future__ import annotations

import errno
import logging
import os
import time

import pytest

from assumed.errors import LocalFaultError
from assumed.local_faults import LocalFaults, thread_shortage


def test_a_shortage_is_logged_once_shown_and_over_by_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    faults = LocalFaults()
    for _ in range(3):
        faults.report(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        faults.check()
    faults.report(ValueError("no shortage"))
    assert faults.describe() == "Too many open files"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 31)
    faults.check()
    assert faults.describe() is None
    names = [record.getMessage() for record in caplog.records]
    assert names == ["resource_exhausted", "resource_available"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "Cannot allocate memory"),
        (RuntimeError("can't start new thread"), "no thread can be started"),
    ],
)
def test_memory_and_threads_are_resources(error: Exception, reason: str) -> None:
    faults = LocalFaults()
    faults.report(error)
    assert faults.describe() == reason
    assert isinstance(thread_shortage(RuntimeError("can't start new thread")), LocalFaultError)


def test_a_fault_that_the_caller_logs_is_shown_until_it_ends() -> None:
    faults = LocalFaults()
    faults.begin("inotify")
    assert faults.describe() == "inotify"
    faults.end("inotify")
    assert faults.describe() is None
