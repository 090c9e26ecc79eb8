from __future__ import annotations

from pathlib import Path

import pytest

from assumed import logs
from tests.unit.cli.service_machine import Machine


@pytest.fixture(autouse=True)
def _log_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command configures the log of its process, which is that of all tests here."""
    monkeypatch.setattr(logs, "configure", lambda **_: None)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which `assumed service` runs."""
    return Machine(tmp_path, monkeypatch)
