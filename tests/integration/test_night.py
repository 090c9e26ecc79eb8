"""The log of an STS outage, as an engineer reads it afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assumed import __version__
from tests.integration.faulty_sts import FaultySts
from tests.integration.world import AwsServer, World, wait_until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    # An hour takes 9 s.
    server = AwsServer(lifetime_scale=1 / 400)
    world = World(tmp_path, server)
    yield world
    world.check_written()
    server.stop()


def test_the_log_explains_an_outage_by_itself(world: World) -> None:
    role = world.add_role()
    world.configure({"deploy": role})
    with FaultySts(world.server.endpoint_url) as sts:
        sts_url = f"http://127.0.0.1:{sts.port}"
        with world.daemon(
            "--log-level", "info", "--log-format", "json", AWS_ENDPOINT_URL_STS=sts_url
        ) as daemon:
            daemon.wait_for('"profile_refreshed"')
            sts.faults[role] = "503"
            daemon.wait_for('"profile_expired"')
            sts.lift()
            wait_until(lambda: world.run("refresh").returncode == 0, "a refresh that works")
            assert daemon.stop() == 0
            events: list[dict[str, Any]] = [
                json.loads(line) for line in daemon.log.read_text().splitlines()
            ]

    begun, refreshed, first, *repeats = events
    assert begun["event"] == "daemon_started"
    assert (begun["version"], begun["config"]) == (__version__, str(world.config))
    assert (begun["profiles"], Path(begun["socket"]).name) == (1, "assumed.sock")
    assert (refreshed["level"], refreshed["event"]) == ("info", "profile_refreshed")

    assert (first["level"], first["event"]) == ("warning", "refresh_failed")
    assert (first["error_code"], first["attempts"]) == ("ServiceUnavailable", 1)
    assert first["hint"].endswith("; the daemon will retry")

    expired, recovered = (
        next(event for event in repeats if event["event"] == name)
        for name in ("profile_expired", "profile_recovered")
    )
    since = expired["failing_since"]
    assert expired["level"] == "error"
    # An outage of seconds has no repeats that are a minute apart.
    assert [event["event"] for event in repeats if event["level"] == "warning"] == []
    assert (expired["error_code"], expired["hint"]) == (first["error_code"], first["hint"])
    assert (recovered["level"], recovered["failing_since"]) == ("info", since)
    assert recovered["failures"] > 1
    assert recovered["failed_with"] == first["error_code"]
    ended, over = map(datetime.fromisoformat, (expired["expires_at"], recovered["time"]))
    # Less than a second is rounded to none, if the retry follows the expiration at once.
    without = pytest.approx((over - ended).total_seconds(), abs=2)
    assert recovered["expired_for_seconds"] == without
    assert recovered["failing_for_seconds"] > 0
    assert (events[-1]["event"], events[-1]["valid"]) == ("daemon_stopped", 1)
