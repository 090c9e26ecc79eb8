"""Commands without a daemon: they go by the clock of STS, and promise nothing of a daemon."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.terminal import terminal
from tests.integration.test_suspend import COMPILER, Clocks
from tests.integration.world import SOURCE, AwsServer, World

MINUTES = 60


@pytest.fixture
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Clocks:
    """The clock of STS."""
    return Clocks(tmp_path_factory.mktemp("clocks"))


@pytest.fixture
def late_world(tmp_path: Path, clocks: Clocks) -> Iterator[World]:
    """A world whose STS has a clock of its own."""
    server = AwsServer(environ=clocks.environ)
    yield World(tmp_path, server)
    server.stop()


@pytest.mark.skipif(COMPILER is None, reason="no C compiler, which is needed to step clocks")
def test_commands_go_by_the_clock_of_sts(late_world: World, clocks: Clocks) -> None:
    world = late_world
    role = world.add_role()
    world.configure({"reports": role})
    assert world.run("refresh").stdout.startswith("reports: refreshed, expires in 59m")
    fresh = world.run("refresh")
    assert (fresh.stdout[:20], fresh.stderr) == ("reports: still fresh", "")
    assert world.server.calls(role) == 1
    # Half of the session is over, and this machine's clock does not know.
    clocks.set(wall=50 * MINUTES, boottime=0)
    warning = re.compile(
        r"this machine's clock is (49|50)m behind that of STS: set it "
        "\\(`timedatectl set-ntp true`\\)\n"
    )
    refreshed = world.run("refresh")
    assert re.match("reports: refreshed, expires in (59m|1h00m)", refreshed.stdout)
    assert warning.fullmatch(refreshed.stderr)
    waited = world.run("wait", "--min-left", "55m")
    assert waited.returncode == 0
    assert warning.fullmatch(waited.stderr)
    assert re.match("reports: valid, expires in (59m|1h00m)", waited.stdout)
    assert world.server.calls(role) == 2
    checked = world.run("check", "--live")
    assert checked.returncode == 0
    assert warning.fullmatch(checked.stderr)
    assert json.loads(world.run("check", "--live", "--json").stdout)["clock_skew_seconds"] in (
        range(-3010, -2990)
    )


def test_refresh_keeps_a_fresh_session_without_the_network(world: World) -> None:
    world.configure({"reports": world.add_role()})
    assert world.run("refresh").returncode == 0
    done = world.run("refresh", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.stdout.startswith("reports: still fresh")


def test_status_without_a_daemon_fails_for_a_profile_without_a_session(world: World) -> None:
    world.configure({"reports": world.add_role(trusts="arn:aws:iam::123456789012:user/another")})
    failed = world.run("refresh")
    assert failed.returncode == 1
    assert "the daemon" not in failed.stderr
    assert "then run the command again" in failed.stderr
    status = world.run("status")
    assert status.returncode == 1
    assert "pending: no session yet, and no daemon to get one: run `assumed refresh`" in (
        status.stderr
    )


def test_refresh_removes_what_the_file_has_of_a_profile_in_memory(world: World) -> None:
    role = world.add_role()
    before = world.credentials.read_bytes()
    world.configure({"reports": role})
    assert world.run("refresh").returncode == 0
    world.configure({"reports": {"role_arn": role, "source_profile": SOURCE, "store": "memory"}})
    assert world.run("refresh").returncode == 0
    assert world.credentials.read_bytes() == before


def test_no_line_of_a_library_is_in_the_output_of_a_command(world: World) -> None:
    # botocore logs a warning with a traceback for each SSO token that it cannot refresh.
    (world.home / ".aws" / "config").write_text(
        "[profile people]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = R\n"
        "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\n"
        "sso_region = us-east-1\n"
    )
    token = {
        "accessToken": "none", "expiresAt": "2026-01-01T00:00:00Z", "refreshToken": "none",
        "clientId": "none", "clientSecret": "none",
        "registrationExpiresAt": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    cache = world.home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (cache / "ee0bfd2552fbd840c02cc48b6e823320543c450f.json").write_text(json.dumps(token))
    roles = {
        f"r{number}": {"role_arn": world.add_role(), "source_profile": "people"}
        for number in range(6)
    }
    world.configure(roles)
    assert "WARNING" in world.run("refresh", "--log-level", "warning").stderr
    for line in world.run("refresh").stderr.splitlines():
        assert line.startswith(("r", "  ")), line
    with terminal(world, *world.assumed, "refresh", kind="xterm") as shell:
        assert shell.status() == 1
        assert "WARNING" not in shell.read()
