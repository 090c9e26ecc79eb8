from __future__ import annotations

from contextlib import ExitStack
from threading import Event, Lock, Thread

import pytest

from assumed.credential_sources import source_slots
from assumed.credential_sources.source_slots import MAX_THREADS, SourceSlots
from assumed.errors import LocalFaultError


def test_sources_that_hang_leave_half_of_the_slots_to_others() -> None:
    slots = SourceSlots()
    with ExitStack() as stack:
        for _ in range(MAX_THREADS // 2):
            stack.enter_context(slots.slot("hanging", is_suspect=True))
        with pytest.raises(LocalFaultError, match="64 other refreshes wait"):
            stack.enter_context(slots.slot("hanging", is_suspect=True))
        for _ in range(MAX_THREADS // 2):
            stack.enter_context(slots.slot("new", is_suspect=False))
        with pytest.raises(LocalFaultError, match="128 other refreshes wait"):
            stack.enter_context(slots.slot("new", is_suspect=False))
    with slots.slot("hanging", is_suspect=True):
        pass


def test_a_thread_that_waits_for_another_one_needs_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_slots, "_USUAL_SECONDS", 0.01)
    slots, lock, is_over = SourceSlots(), Lock(), Event()

    def wait() -> None:
        with slots.exclusive(lock, "source"):
            is_over.set()

    with ExitStack() as stack, lock:
        for _ in range(MAX_THREADS // 2):
            stack.enter_context(slots.slot("hanging", is_suspect=True))
        with pytest.raises(LocalFaultError):
            wait()
    with lock:
        thread = Thread(target=wait)
        thread.start()
        assert not is_over.wait(0.05)
    thread.join()
    assert is_over.is_set()
