from __future__ import annotations

import subprocess

import pytest

from tests.unit.platform.systemd.fake_systemd import FakeSystemd


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    fake = FakeSystemd()
    monkeypatch.setattr(subprocess, "run", fake.run)
    return fake
