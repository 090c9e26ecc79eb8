from __future__ import annotations

import signal
from collections.abc import Iterator

import freezegun
import pytest
from freezegun import freeze_time
from hypothesis import settings

from tests.fakes import NOON, Simulation

# pytest measures with the real clock also while a test has frozen it, so that --durations works.
freezegun.configure(extend_ignore_list=["_pytest.timing"])

# The same cases in every run, so that a failure comes from the change under test; `make search`
# looks for new cases.
settings.register_profile("repeat", derandomize=True, deadline=None, max_examples=300)
settings.register_profile("search", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("repeat")


# A shell lets what it starts in the background ignore these, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with freeze_time(NOON) as frozen:
        yield Simulation(frozen)  # type: ignore[arg-type]  # the clock does not tick
