"""Errors of this program itself, in a real daemon: they end no refreshing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_metrics import scrape_socket
from tests.integration.test_systemd import Manager
from tests.integration.world import AwsServer, Daemon, World, wait_until
from tests.repository import REPOSITORY


@pytest.fixture
def broken(tmp_path: Path, hasty_server: AwsServer) -> World:
    """A world with sessions of five seconds, whose log may have tracebacks."""
    world = World(tmp_path, hasty_server)
    role = world.add_role()
    chained = {"role_arn": world.add_role(trusts=role), "source_profile": "deploy"}
    world.configure({"deploy": role, "read": world.add_role(), "child": chained})
    return world


@contextmanager
def running(world: World, parts: str, **environ: str) -> Iterator[Daemon]:
    world.assumed = [sys.executable, "-m", "tests.integration.broken_daemon"]
    daemon = world.daemon(BROKEN=parts, PYTHONPATH=str(REPOSITORY), **environ)
    world.assumed = [sys.executable, "-m", "assumed"]
    with daemon:
        world.wait_for_first_pass()
        yield daemon


def internal_errors(world: World) -> dict[str, float]:
    text = scrape_socket(world)[2]
    found = re.findall(r'assumed_internal_errors_total{part="([^"]+)".*?} (\S+)', text)
    return {part: float(count) for part, count in found}


def refreshes(world: World) -> dict[str, int]:
    return {each["profile"]: each["refreshes"] for each in world.status()["profiles"]}


@pytest.mark.parametrize(
    ("parts", "counted"),
    [
        ("beside 0", {"observer", "heartbeat", "files"}),
        ("results 5", {"scheduler", "schedule"}),
    ],
)
def test_refreshing_goes_on_whatever_raises(parts: str, counted: set[str], broken: World) -> None:
    with running(broken, parts, WATCHDOG_USEC="3000000") as daemon:
        wait_until(lambda: min(refreshes(broken).values()) >= 2, "the refreshes")
        assert {part for part, count in internal_errors(broken).items() if count} >= counted
        daemon.wait_for("internal_error")
        assert daemon.stop() == 0


def test_systemd_gets_no_keep_alive_from_a_daemon_that_can_schedule_nothing(
    broken: World, tmp_path: Path
) -> None:
    manager = Manager(tmp_path / "notify")
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "3000000"}
    with running(broken, "jobs 9", **environ) as daemon:
        daemon.wait_for("part=schedule profile=")
        assert manager.received("READY=1", "WATCHDOG=1")
        before = manager.messages.count("WATCHDOG=1")
        # The heartbeats go on, and find the same.
        daemon.wait_for("part=schedule times=2 profile=")
        manager.received()
        assert manager.messages.count("WATCHDOG=1") <= before + 1
    manager.close()
