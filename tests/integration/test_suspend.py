"""Real processes whose clocks are stepped, as by a suspend or by NTP."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import AwsServer, World, wait_until

HOURS = 3600
COMPILER = shutil.which("cc") or shutil.which("gcc")

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="no C compiler, which is needed to step clocks"
)


class Clocks:
    """The clocks of all processes that run in `environ`."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clocks"
        self.set(wall=0, boottime=0)
        library = directory / "stepped_clocks.so"
        source = Path(__file__).with_name("stepped_clocks.c")
        subprocess.run(  # noqa: S603
            [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"],
            check=True,
        )
        self.environ = {"LD_PRELOAD": str(library), "STEPPED_CLOCKS": str(self._file)}

    def set(self, *, wall: int, boottime: int) -> None:
        """Set both clocks this many seconds ahead of the real ones."""
        with self._file.open("r+b" if self._file.exists() else "xb") as file:
            file.write(struct.pack("qq", wall, boottime))


@pytest.fixture
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Clocks:
    return Clocks(tmp_path_factory.mktemp("clocks"))


@pytest.fixture
def suspended_world(tmp_path: Path, clocks: Clocks) -> Iterator[World]:
    """A world whose STS has the same clocks, so that its time continues during a suspend."""
    server = AwsServer(environ=clocks.environ)
    world = World(tmp_path, server)
    world.environ |= clocks.environ
    yield world
    world.check_written()
    server.stop()


def refreshes(world: World) -> int:
    found: int = world.status()["profiles"][0]["refreshes"]
    return found


def test_the_first_heartbeat_after_eight_hours_of_suspend_refreshes_the_profile(
    suspended_world: World, clocks: Clocks
) -> None:
    world = suspended_world
    role = world.add_role()
    world.configure({"reports": role})
    with world.running() as daemon:
        clocks.set(wall=8 * HOURS, boottime=8 * HOURS)
        expired = world.aws("sts", "get-caller-identity", "--profile", "reports")
        wait_until(lambda: refreshes(world) == 2, "the refresh after the resume")
        assert world.states() == {"reports": "valid"}
        assert "ExpiredToken" in expired.stderr or expired.returncode == 0
        assert world.aws("sts", "get-caller-identity", "--profile", "reports").returncode == 0
        assert "wall_clock_stepped" not in daemon.log.read_text()
    assert world.server.calls(role) == 2


@pytest.mark.parametrize("step", [-24 * HOURS, 24 * HOURS], ids=["back", "forth"])
def test_a_step_of_the_wall_clock_causes_no_refresh_and_delays_none(
    world: World, clocks: Clocks, step: int
) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.daemon(**clocks.environ) as daemon:
        daemon.wait_for("profile_refreshed")
        clocks.set(wall=step, boottime=0)
        daemon.wait_for(f"wall_clock_stepped seconds={step}")
        assert world.states() == {"reports": "valid"}
        assert world.server.calls(role) == 1
        # A refresh is due by CLOCK_BOOTTIME, regardless of the wall clock.
        clocks.set(wall=step, boottime=HOURS)
        wait_until(lambda: world.server.calls(role) == 2, "the refresh")
        daemon.wait_for("clock_skew_detected")
        wait_until(lambda: world.states() == {"reports": "valid"}, "the refresh")
