"""Calls, connections and rewrites of the file for many roles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from bench.refresh import Rewrites
from bench.stub import Settings, StubSts, issued_at
from bench.world import OLD_KEY, Home

ROLES = 300


@pytest.fixture
def stub() -> Iterator[StubSts]:
    with StubSts() as stub:
        yield stub


@pytest.fixture
def home(stub: StubSts, tmp_path: Path) -> Home:
    home = Home(tmp_path, stub.endpoint_url)
    home.configure(ROLES)
    home.store(ROLES, remaining=timedelta(hours=-1))
    return home


@pytest.mark.parametrize("latency", [0.0, 0.05])
def test_each_role_is_one_call_and_many_roles_share_a_rewrite(
    home: Home, stub: StubSts, latency: float
) -> None:
    stub.configure(Settings(latency=latency))
    with Rewrites(home) as rewrites:
        took = home.run(home.assumed("refresh"))
    assert took.status == 0
    assert sorted(call.role for call in stub.calls()) == sorted(
        f"role-{number}" for number in range(ROLES)
    )
    written = home.credentials.read_text()
    assert len(issued_at(written)) == ROLES
    assert OLD_KEY not in written
    assert 1 <= rewrites.count <= 30
    # Each worker thread keeps its connection.
    assert stub.connections <= 32


def test_one_role_is_one_rewrite(home: Home, stub: StubSts) -> None:
    with Rewrites(home) as rewrites:
        assert home.run(home.assumed("refresh", "role-7")).status == 0
    assert [call.role for call in stub.calls()] == ["role-7"]
    assert rewrites.count == 1
