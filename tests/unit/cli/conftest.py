from __future__ import annotations

import pytest

from assumed import logs


@pytest.fixture(autouse=True)
def _log_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command configures the log of its process, which is that of all tests here."""
    monkeypatch.setattr(logs, "configure", lambda **_: None)
