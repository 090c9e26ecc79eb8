from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import AwsServer, World


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    server = AwsServer()
    yield server
    server.stop()


@pytest.fixture
def world(tmp_path: Path, aws_server: AwsServer) -> Iterator[World]:
    world = World(tmp_path, aws_server)
    yield world
    written = world.written()
    assert not any(secret in written for secret in [*aws_server.secrets(), world.user_secret])
    assert "Traceback" not in written
