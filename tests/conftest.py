from __future__ import annotations

from collections.abc import Iterator

import pytest
from freezegun import freeze_time
from hypothesis import settings

from tests.fakes import NOON, Simulation

# The same cases in every run, so that a change is judged by what it changed; `make search` looks
# for new ones.
settings.register_profile("repeat", derandomize=True, deadline=None, max_examples=300)
settings.register_profile("search", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("repeat")


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with freeze_time(NOON) as frozen:
        yield Simulation(frozen)  # type: ignore[arg-type]  # it is no ticking one
