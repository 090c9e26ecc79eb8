from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sdks import Sdk, installed_sdks
from tests.integration.world import AwsServer, World

# One hour in five seconds.
LIFETIME_SCALE = 5 / 3600


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    server = AwsServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def hasty_server() -> Iterator[AwsServer]:
    """An AWS whose one-hour sessions expire after five seconds."""
    server = AwsServer(lifetime_scale=LIFETIME_SCALE)
    yield server
    server.stop()


@pytest.fixture
def world(tmp_path: Path, aws_server: AwsServer) -> Iterator[World]:
    world = World(tmp_path, aws_server)
    yield world
    world.check_written()


@pytest.fixture
def hasty(tmp_path: Path, hasty_server: AwsServer) -> Iterator[World]:
    world = World(tmp_path, hasty_server)
    yield world
    world.check_written()


@pytest.fixture(scope="session")
def sdks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sdk | str]:
    """Return a program for each AWS SDK by its name, or why it is not available."""
    return installed_sdks(tmp_path_factory.mktemp("sdks"))
