from __future__ import annotations

import signal
from collections.abc import Iterator

import freezegun
import pytest
from freezegun import freeze_time

from tests.fakes import NOON, Simulation

# pytest measures with the real clock also while a test has frozen it, so that --durations works.
freezegun.configure(extend_ignore_list=["_pytest.timing"])

# A shell lets what it starts in the background ignore these, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with freeze_time(NOON) as frozen:
        yield Simulation(frozen)  # type: ignore[arg-type]  # the clock does not tick
