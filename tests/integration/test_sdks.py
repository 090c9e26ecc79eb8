"""Each AWS SDK lives through sessions that expire, by `exec` and by a `credential_process`."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator, Mapping

import pytest

from tests.integration.recipes import credential_process
from tests.integration.sdks import Sdk
from tests.integration.test_exec import remaining_directories
from tests.integration.world import SOURCE, World, wait_until

EXPIRATIONS = 4
# `exec` with no daemon and with one; a credential_process of a profile in the file and in memory.
WAYS = ("alone", "served", "file", "memory")


class Lives:
    """The programs of all SDKs, each with a role and a profile of its own.

    Args:
        sdks: the programs.
        way: names this set.
    """

    def __init__(self, world: World, sdks: Mapping[str, Sdk], *, way: str) -> None:
        self._world = world
        self._sdks = sdks
        self._stop = world.home / f"{way}.stop"
        self._bucket = f"{way}-{uuid.uuid4().hex[:8]}"
        self._roles = {name: world.add_role() for name in sdks}
        self._profiles = {name: f"{way}-{number}" for number, name in enumerate(sdks)}
        self._running: dict[str, subprocess.Popen[str]] = {}

    @property
    def profiles(self) -> Mapping[str, str]:
        """The role of each profile."""
        return {self._profiles[name]: self._roles[name] for name in self._sdks}

    def start(self, *before: str, **environ: str) -> None:
        """Start each program, behind the words of `before`.

        `{profile}` in these and in the values of `environ` is the program's profile.
        """
        for name, sdk in self._sdks.items():
            values = {
                "profile": self._profiles[name],
                "stop": self._stop,
                "bucket": self._bucket,
                "endpoint_url": self._world.server.endpoint_url,
            }
            more = {key: value.format(**values) for key, value in environ.items()}
            self._running[name] = subprocess.Popen(  # noqa: S603
                [word.format(**values) for word in (*before, *sdk.command)],
                env=self._world.environ | more,
                cwd=self._world.home,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def outlive(self, sessions: int) -> None:
        """Wait until each program has used so many sessions that are over."""
        for name, process in self._running.items():

            def has_outlived(name: str = name, process: subprocess.Popen[str] = process) -> bool:
                assert process.poll() is None, f"{name}: {process.communicate()[1]}"
                return self._world.server.outlived(self._roles[name]) >= sessions

            wait_until(has_outlived, f"session {sessions} of {name} to expire")

    def end(self) -> None:
        """Have all make a last call, and see that none was ever refused."""
        self._world.server.ask("bucket", {"name": self._bucket})
        self._stop.touch()
        for name, process in self._running.items():
            printed, said = process.communicate()
            sdk = self._sdks[name]
            assert process.returncode == 0, f"{name}: {said}"
            assert all(line.startswith(sdk.warnings) for line in said.splitlines()), said
            if sdk.prints_arn:
                assert f":assumed-role/{self._roles[name].rpartition('/')[2]}/" in printed

    def kill(self) -> None:
        for process in self._running.values():
            process.kill()
            process.communicate()


@pytest.fixture
def ways(hasty: World, sdks: Mapping[str, Sdk | str]) -> Iterator[Mapping[str, Lives]]:
    """All programs for each way to keep them fresh, not started yet."""
    installed = {name: sdk for name, sdk in sdks.items() if isinstance(sdk, Sdk)}
    lives = {way: Lives(hasty, installed, way=way) for way in WAYS}
    hasty.configure(
        {
            profile: {
                "role_arn": role,
                "source_profile": SOURCE,
                "store": "memory" if way == "memory" else "file",
            }
            for way, each in lives.items()
            for profile, role in each.profiles.items()
        }
    )
    (hasty.home / ".aws" / "config").write_text(
        "".join(
            credential_process(hasty, profile)
            for way in ("file", "memory")
            for profile in lives[way].profiles
        )
    )
    # The SDKs for JavaScript and Go know no AWS_DEFAULT_REGION.
    hasty.environ |= {"AWS_REGION": "us-east-1", "NODE_NO_WARNINGS": "1"}
    yield lives
    for each in lives.values():
        each.kill()


def test_every_sdk_outlives_sessions_in_every_way(
    hasty: World, ways: Mapping[str, Lives], sdks: Mapping[str, Sdk | str]
) -> None:
    under_exec = [*hasty.assumed, "exec", "{profile}", "--"]
    alone = ways["alone"]
    alone.start(*under_exec)
    wait_until(
        lambda: len(remaining_directories(hasty)) == len(alone.profiles), "the commands to start"
    )
    with hasty.running():
        ways["served"].start(*under_exec)
        for way in ("file", "memory"):
            ways[way].start(AWS_PROFILE="{profile}-live")
        for sessions in range(1, EXPIRATIONS + 1):
            for lives in ways.values():
                lives.outlive(sessions)
        for lives in ways.values():
            lives.end()
    missing = [f"NOT TESTED: {name}: {sdk}" for name, sdk in sdks.items() if isinstance(sdk, str)]
    if missing:
        pytest.skip("; ".join(missing))
