"""Sessions from the file under wrong clocks, in real daemons: `valid` means that they work now."""

from __future__ import annotations

import json
import signal
from datetime import datetime
from typing import Any

import pytest

from tests.integration.faulty_sts import FaultySts
from tests.integration.test_suspend import HOURS, Clocks, clocks, pytestmark
from tests.integration.world import SOURCE, World, wait_until

__all__ = ["clocks", "pytestmark"]

MINUTES = 60


def status_of(world: World, profile: str) -> Any:
    (found,) = json.loads(world.run("status", profile, "--json").stdout)["profiles"]
    return found


def has_moved_back(world: World, profile: str, expires_at: str, seconds: int) -> bool:
    """Whether a profile's session expires this many seconds earlier than by its expiration."""
    status = status_of(world, profile)
    assert status["expires_at"] == expires_at
    real = (datetime.fromisoformat(expires_at) - datetime.now().astimezone()).total_seconds()
    return bool(abs(status["seconds_left"] - (real - seconds)) < 2 * MINUTES)


def test_a_clock_that_is_behind_at_the_start_is_corrected_by_one_call_without_assume_role(
    world: World, clocks: Clocks
) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    assert world.run("refresh").returncode == 0
    clocks.set(wall=-20 * MINUTES, boottime=0)
    with world.running(**clocks.environ) as daemon:
        daemon.wait_for("clock_skew_detected seconds=-")
        expires_at = status_of(world, "reports")["expires_at"]
        wait_until(lambda: has_moved_back(world, "reports", expires_at, 0), "the correction")
        assert world.server.calls(role) == 1


def test_a_clock_that_is_set_after_the_start_shortens_the_sessions_also_without_sts(
    world: World, clocks: Clocks
) -> None:
    world.configure({"reports": world.add_role()})
    assert world.run("refresh").returncode == 0
    clocks.set(wall=-30 * MINUTES, boottime=0)
    nowhere = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}
    with world.running(**clocks.environ, **nowhere) as daemon:
        expires_at = status_of(world, "reports")["expires_at"]
        assert has_moved_back(world, "reports", expires_at, -30 * MINUTES)
        assert world.states() == {"reports": "valid"}
        clocks.set(wall=0, boottime=0)
        daemon.wait_for(f"wall_clock_stepped seconds={30 * MINUTES}")
        wait_until(lambda: has_moved_back(world, "reports", expires_at, 0), "the correction")


def test_the_wrong_date_of_another_endpoint_moves_no_session(world: World) -> None:
    role, dev = world.add_role(), world.add_role()
    with FaultySts(world.server.endpoint_url) as sts:
        own_url = f"http://127.0.0.1:{sts.port}"
        (world.home / ".aws" / "config").write_text(
            f"[profile own]\nendpoint_url = {own_url}\n"
            f"[profile {SOURCE}]\nendpoint_url = {world.server.endpoint_url}\n"
        )
        del world.environ["AWS_ENDPOINT_URL"]
        keys = world.credentials.read_text().partition("]")[2].strip()
        with world.credentials.open("a") as file:
            file.write(f"[own]\n{keys}\n")
        sts.faults[dev] = "wrong-clock"
        world.configure({"reports": role, "dev": {"role_arn": dev, "source_profile": "own"}})
        assert world.run("refresh", "reports").returncode == 0
        with world.running() as daemon:
            daemon.wait_for("clock_skew_detected seconds=-")
            daemon.wait_for("profile_refreshed profile=dev")
            expires_at = status_of(world, "reports")["expires_at"]
            assert has_moved_back(world, "reports", expires_at, 0)
            assert 3500 < status_of(world, "dev")["seconds_left"] <= 3600
            shown = world.status()["daemon"]
            assert shown["clock_skew_seconds"] == 0
            ((url, skew),) = shown["endpoint_clock_skew_seconds"].items()
            assert url == own_url
            assert abs(skew + 2 * HOURS) < MINUTES
            assert f"behind that of {url}: set the clock" in world.run("status").stderr
        assert world.server.calls(role) == 1


def test_a_session_that_sts_does_not_know_any_more_is_refreshed_at_the_start(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    assert world.run("refresh").returncode == 0
    world.server.revoke(role)
    with world.running() as daemon:
        daemon.wait_for("session_rejected profile=reports")
        wait_until(lambda: world.server.calls(role) == 2, "the refresh")
        wait_until(lambda: world.states() == {"reports": "valid"}, "the refresh")
    assert ":assumed-role/" in world.caller("reports")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_makes_no_needless_assume_role(world: World, number: signal.Signals) -> None:
    first = world.add_role()
    second = world.add_role(trusts=first)
    world.configure({"first": first, "second": {"role_arn": second, "source_profile": "first"}})
    with world.running() as daemon:
        daemon.signal(number)
        daemon.process.wait()
    for _ in range(2):
        with world.running():
            wait_until(lambda: world.server.checks(first, second) >= 2, "the checks")
    assert world.server.calls(first, second) == 2
