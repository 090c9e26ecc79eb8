"""Paths that are not text, locales without UTF-8, and users without a home directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import AwsServer, World, wait_until

C_LOCALE = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
UTF_8 = {"LANG": "C.UTF-8"}
# It may read the interpreter, wherever that is installed.
WITHOUT_PASSWD_ENTRY = [
    "/usr/bin/setpriv", "--reuid=54321", "--regid=54321", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
]  # fmt: skip
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["status", "--format", "{profile} {state}"],
    ["check"],
    ["check", "--live"],
    ["refresh", "--force"],
    ["wait"],
    ["exec", "berichte-köln", "--", "true"],
    ["export-credentials", "--profile", "berichte-köln"],
    ["logout", "berichte-köln"],
]


@pytest.fixture(params=["köln", b"k\xf6ln"], ids=["utf-8", "no utf-8"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    directory = tmp_path / os.fsdecode(request.param)
    directory.mkdir()
    return directory


@pytest.fixture
def odd(home: Path, aws_server: AwsServer) -> Iterator[World]:
    world = World(home, aws_server)
    world.configure({"berichte-köln": world.add_role()})
    yield world
    world.check_written()


def run(world: World, *arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command; its output need not be text, and may be secret."""
    return subprocess.run(  # noqa: S603
        [*world.assumed, *arguments],
        env={**world.environ, **environ},
        cwd=world.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("daemon_locale", "locale"),
    [(UTF_8, C_LOCALE), (C_LOCALE, UTF_8)],
    ids=["UTF-8 daemon", "C daemon"],
)
def test_every_command_works_with_any_path_in_any_locale(
    odd: World, daemon_locale: dict[str, str], locale: dict[str, str]
) -> None:
    with odd.daemon(**daemon_locale):

        def is_fresh() -> bool:
            done = run(odd, "status", "--json", **locale)
            return done.returncode == 0 and b'"valid"' in done.stdout

        wait_until(is_fresh, "the first pass")
        content = json.loads(run(odd, "status", "--json", **locale).stdout)
        assert content["daemon"]["config"] == str(odd.config)
        assert [profile["profile"] for profile in content["profiles"]] == ["berichte-köln"]
        for arguments in COMMANDS:
            for options in ([], ["--config", str(odd.config)]):
                words = [arguments[0], *options, *arguments[1:]]
                done = run(odd, *words, **locale)
                assert b"Traceback" not in done.stderr, (words, done.stderr)
                # The daemon would write the credentials again.
                is_refused = arguments[0] == "logout"
                assert done.returncode == int(is_refused), (words, done.stderr)


@pytest.mark.parametrize("locale", [UTF_8, C_LOCALE], ids=["UTF-8", "C"])
def test_every_command_works_without_a_daemon_too(odd: World, locale: dict[str, str]) -> None:
    for arguments in COMMANDS:
        done = run(odd, *arguments, **locale)
        assert b"Traceback" not in done.stderr, (arguments, done.stderr)
        if arguments[0] != "status":
            assert done.returncode == 0, (arguments, done.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("home_directory", [None, "", "relative"])
def test_a_user_without_a_home_directory_gets_one_line_or_a_result(
    world: World, home_directory: str | None
) -> None:
    environ = dict(world.environ)
    # Under `make coverage`, that user could not write what it measures.
    for name in ("HOME", "XDG_RUNTIME_DIR", "COVERAGE_PROCESS_CONFIG"):
        environ.pop(name, None)
    # Without a home directory there is no place to look for it.
    environ["ASSUMED_CONFIG"] = str(world.config)
    world.configure({"reports": world.add_role()})
    if home_directory is not None:
        environ["HOME"] = home_directory
    for arguments in [
        *COMMANDS, ["run"], ["init"], ["service", "install"],
    ]:  # fmt: skip
        done = subprocess.run(  # noqa: S603
            # Without AWS files, a daemon whose configuration is named waits for them.
            [
                "/usr/bin/timeout",
                "15",
                *WITHOUT_PASSWD_ENTRY,
                sys.executable,
                "-m",
                "assumed",
                *arguments,
            ],
            env=environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, (arguments, done.stderr)
        assert done.returncode in {0, 1, 2, 78, 124}, (arguments, done.stderr)
        assert done.returncode != 124 or arguments == ["run"], arguments
        is_fast = arguments[0] == "status" and len(arguments) > 1
        if home_directory is None and not is_fast:
            assert "HOME is not set, and user ID 54321 is not in the user" in done.stderr


def test_the_socket_returns_after_its_directory_was_removed(world: World) -> None:
    world.configure({"reports": world.add_role()})
    runtime = world.home / "run"
    with world.running() as daemon:
        # A logout, and a login some time later.
        moved = world.home / "moved"
        runtime.rename(moved)
        runtime.touch()
        daemon.wait_for("socket_lost")
        runtime.unlink()
        runtime.mkdir(mode=0o700)
        started = time.monotonic()
        daemon.wait_for("socket_restored")
        print(f"restored after {time.monotonic() - started:.1f} s")  # noqa: T201
        assert world.status()["daemon"]["pid"] == daemon.pid
        # Without its directory's name, and at once.
        (runtime / "assumed" / "assumed.sock").unlink()
        daemon.wait_for("socket_restored", times=2)
        assert world.states() == {"reports": "valid"}
        second = world.run("run")
        assert second.returncode == 1
        assert f"pid {daemon.pid}" in second.stderr
        assert daemon.stop() == 0
    assert not (runtime / "assumed" / "assumed.sock").exists()


def test_a_hang_up_of_the_terminal_does_not_end_the_daemon(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running() as daemon:
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config_reloaded")
        assert world.run("refresh", "--force").returncode == 0
