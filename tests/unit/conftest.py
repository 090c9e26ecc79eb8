from __future__ import annotations

from collections.abc import Iterator

import pytest
from freezegun import freeze_time

from tests.fakes import NOON, Simulation


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with freeze_time(NOON) as frozen:
        yield Simulation(frozen)  # type: ignore[arg-type]  # it is no ticking one
