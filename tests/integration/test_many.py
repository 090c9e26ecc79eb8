"""Calls, connections and rewrites of the file for many roles."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from bench.refresh import Rewrites
from bench.stub import Settings, StubSts, issued_at
from bench.world import OLD_KEY, Home, wait_until

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
    assert stub.connections <= 34, "one that was closed is replaced"


def test_one_role_is_one_rewrite(home: Home, stub: StubSts) -> None:
    with Rewrites(home) as rewrites:
        assert home.run(home.assumed("refresh", "role-7")).status == 0
    assert [call.role for call in stub.calls()] == ["role-7"]
    assert rewrites.count == 1


def test_a_refresh_without_a_daemon_retries_what_sts_throttles(home: Home, stub: StubSts) -> None:
    stub.configure(Settings(quota=100))
    took = home.run(home.assumed("refresh"))
    assert took.status == 0, took.output
    assert OLD_KEY not in home.credentials.read_text()
    assert len(stub.calls()) <= 1.4 * ROLES


def test_ctrl_c_ends_a_refresh_with_what_was_done(home: Home, stub: StubSts) -> None:
    stub.configure(Settings(quota=20))
    with subprocess.Popen(  # noqa: S603
        home.assumed("refresh"),
        env=home.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: ROLES - home.credentials.read_text().count(OLD_KEY) >= 20, "20 roles")
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    fresh = [line.partition(":")[0] for line in printed.splitlines() if "refreshed" in line]
    written = home.credentials.read_text()
    assert 20 <= len(fresh) < ROLES
    assert all(OLD_KEY not in written.partition(f"[{role}]")[2].partition("[")[0] for role in fresh)
    assert f"interrupted: {len(fresh)} of {ROLES} profiles are fresh" in errors
    assert "Traceback" not in errors
