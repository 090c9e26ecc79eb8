"""Sources, endpoints and files that do not answer: each has a deadline, and delays no other."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.test_api import request
from tests.integration.test_passing_faults import (
    FailingFiles,
    check_healed,
    is_valid,
    needs_compiler,
    seconds_until,
)
from tests.integration.world import SOURCE, AwsServer, Daemon, World, wait_until

HANGS = -1
MAX_REQUEST_SECONDS = 15
STOP_TIMEOUT_SECONDS = 10
START_SECONDS = 5
MAX_THREADS = 128 + 32 + 24
"""Those that wait for commands, those for the others, and those of everything else."""


@pytest.fixture
def failing(tmp_path_factory: pytest.TempPathFactory) -> FailingFiles:
    return FailingFiles(tmp_path_factory.mktemp("failing"))


@pytest.fixture
def brief_world(tmp_path: Path) -> Iterator[World]:
    """A world whose sessions last 36 seconds, and whose commands are killed after 6."""
    server = AwsServer(lifetime_scale=0.01)
    world = World(tmp_path, server)
    world.assumed = [sys.executable, str(Path(__file__).with_name("brief_deadlines.py")), "6"]
    yield world
    server.stop()


def hanging_command(world: World) -> str:
    """Return a command that starts another one, and waits for it without an end."""
    program = world.home / "hang.sh"
    program.write_text("#!/bin/sh\nsleep 3600 & echo $! >>pids\necho $$ >>pids\nwait\n")
    program.chmod(0o700)
    return str(program)


def processes(world: World) -> list[int]:
    path = world.home / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def status_of(world: World, profile: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in world.status()["profiles"] if each["profile"] == profile
    )
    return found


def answered_states(world: World) -> dict[str, str]:
    """Return the states as the API socket answers: late on a busy machine, but always."""
    _, content = request(world, "GET", "/v1/status")
    return {each["profile"]: each["state"] for each in content["profiles"]}


def is_shown(status: dict[str, Any], reason: str) -> bool:
    return bool(status["waiting_for"] == reason and status["waiting_seconds"] >= 3)


def number_of_threads(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/task").iterdir()))


@pytest.mark.parametrize("kind", ["credential_process", "source_profile", "mfa_process"])
def test_a_command_that_hangs_is_named_and_killed_and_the_next_run_heals(
    brief_world: World, kind: str
) -> None:
    world = brief_world
    command = hanging_command(world)
    role = world.add_role()
    config = world.credentials.with_name("config")
    definition: dict[str, object] = {"role_arn": role, "source_profile": "src"}
    reason = "credential_process of source profile src"
    config.write_text(f"[profile src]\ncredential_process = {command}\n")
    if kind == "source_profile":
        config.write_text(
            f"[profile src]\nrole_arn = {role}\nsource_profile = vault\n"
            f"[profile vault]\ncredential_process = {command}\n"
        )
        reason = "credential_process of source profile vault"
    elif kind == "mfa_process":
        serial = world.server.add_mfa("123456", role_arn=role)
        definition = {
            "role_arn": role,
            "source_profile": SOURCE,
            "mfa_serial": serial,
            "mfa_process": [command],
        }
        reason = f"mfa_process {command}"
    world.configure({"slow": definition, "fast": role})
    with world.daemon() as daemon:
        wait_until(lambda: world.states().get("fast") == "valid", "the other profile")
        wait_until(lambda: is_shown(status_of(world, "slow"), reason), "the wait", 60)
        shown = f"slow: waiting for {reason} since "
        wait_until(lambda: shown in world.run("status").stdout, "the line", 60)
        daemon.wait_for("SourceTimeout")
        error = status_of(world, "slow")["last_error"]
        assert "did not " in error["message"]
        assert "run it by hand" in error["hint"]
        wait_until(lambda: not any(map(is_alive, processes(world)[:2])), "the end of the group")


def test_300_profiles_on_hanging_sources_keep_no_other_from_being_fresh(brief_world: World) -> None:
    world = brief_world
    command = hanging_command(world)
    role = world.add_role()
    keys = world.credentials.read_text().split("\n", 2)[2]
    answer = json.dumps({"Version": 1} | _keys(keys))
    healthy = world.home / "healthy.sh"
    healthy.write_text(f"#!/bin/sh\necho '{answer}'\n")
    healthy.chmod(0o700)
    names = [f"hang-{number}" for number in range(300)]
    sections = [f"[profile of-{name}]\ncredential_process = {command}\n" for name in names]
    sections.append(f"[profile healthy]\ncredential_process = {healthy}\n")
    world.credentials.with_name("config").write_text("".join(sections))
    hanging: dict[str, str | dict[str, object]] = {
        name: {"role_arn": role, "source_profile": f"of-{name}", "store": "memory"}
        for name in names
    }
    good: dict[str, str | dict[str, object]] = {
        "keys": role,
        "process": {"role_arn": role, "source_profile": "healthy"},
    }
    world.configure({**hanging, **good})
    # Fewer new processes a second than with the deadline of the other tests.
    world.assumed[-1] = "15"
    with world.daemon() as daemon:
        wait_until(lambda: is_valid(world, *good), "the others", 100)
        before = world.server.calls(role)
        # More than a lifetime, with every deadline reached at least twice.
        ends_at, threads = time.monotonic() + 40, 0
        while time.monotonic() < ends_at:
            states = answered_states(world)
            assert {states[name] for name in good} == {"valid"}, states
            threads = max(threads, number_of_threads(daemon))
            time.sleep(0.5)
        assert threads <= MAX_THREADS
        assert world.server.calls(role) >= before + 2
        text = daemon.log.read_text()
        assert "SourceTimeout" in text
        assert "Traceback" not in text


@pytest.fixture
def silent_addresses(brief_world: World) -> Iterator[list[str]]:
    """Eight addresses at which the port of STS takes connections and completes none."""
    port = urlsplit(brief_world.server.endpoint_url).port
    with ExitStack() as stack:
        addresses = [f"127.0.0.{number}" for number in range(2, 10)]
        for address in addresses:
            listener = stack.enter_context(socket.socket())
            listener.bind((address, port))
            listener.listen(0)
            for _ in range(4):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex((address, port))
        yield addresses


def with_addresses(world: World, addresses: list[str]) -> dict[str, str]:
    """Return the environment in which the host name of STS has these addresses."""
    port = urlsplit(world.server.endpoint_url).port
    return {"AWS_ENDPOINT_URL": f"http://localhost:{port}", "LOCALHOST": " ".join(addresses)}


def test_an_endpoint_with_eight_addresses_that_do_not_answer_fails_in_seconds(
    brief_world: World, silent_addresses: list[str]
) -> None:
    world = brief_world
    environ = with_addresses(world, silent_addresses)
    world.configure({"reports": world.add_role()})
    began = time.monotonic()
    with world.daemon(**environ) as daemon:
        daemon.wait_for("refresh_failed")
        assert time.monotonic() - began < MAX_REQUEST_SECONDS + START_SECONDS
        assert status_of(world, "reports")["last_error"]["code"] == "ConnectTimeoutError"


def test_the_ninth_address_of_an_endpoint_is_used_if_eight_do_not_answer(
    brief_world: World, silent_addresses: list[str]
) -> None:
    world = brief_world
    environ = with_addresses(world, [*silent_addresses, "127.0.0.1"])
    world.configure({"reports": world.add_role()})
    with world.running(**environ) as daemon:
        assert world.states() == {"reports": "valid"}
        assert "refresh_failed" not in daemon.log.read_text()


def _keys(text: str) -> dict[str, str]:
    values = [line.split(" = ", 1)[1].strip() for line in text.splitlines() if " = " in line]
    return {"AccessKeyId": values[0], "SecretAccessKey": values[1]}


@needs_compiler
def test_files_that_hang_hold_up_neither_memory_profiles_nor_status_nor_the_stop(
    brief_world: World, failing: FailingFiles
) -> None:
    world = brief_world
    role = world.add_role()
    world.configure(
        {
            name: {"role_arn": role, "source_profile": SOURCE, "store": store}
            for name, store in (("memory", "memory"), ("file", "file"))
        }
    )
    with world.running(**failing.environ) as daemon:
        failing.fail(HANGS, world.credentials.parent)
        # A file event, so that something reads them.
        daemon.wait_for("file_hangs")
        for _ in range(2):
            before = world.server.calls(role)
            wait_until(lambda before=before: world.server.calls(role) > before, "the next refresh")  # type: ignore[misc]
        ends_at = time.monotonic() + 40
        while time.monotonic() < ends_at:
            began = time.monotonic()
            assert status_of(world, "memory")["state"] == "valid"
            assert time.monotonic() - began < START_SECONDS
        status = world.status()
        assert str(world.credentials.parent) in status["daemon"]["local_fault"]
        waiting = status_of(world, "file")
        assert waiting["waiting_for"] == "the write of the credentials file"
        assert "trouble on this machine: " in world.run("status").stderr
        failing.work()
        check_healed(seconds_until(lambda: is_valid(world, "memory", "file"), "the profiles"))
        daemon.wait_for("file_answers")
        failing.fail(HANGS, world.home / ".aws", world.home / ".config")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("file_hangs", times=2)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < STOP_TIMEOUT_SECONDS
        failing.work()
        assert "Traceback" not in daemon.log.read_text()


@needs_compiler
def test_a_start_that_hangs_in_a_file_stops_in_time(
    brief_world: World, failing: FailingFiles
) -> None:
    world = brief_world
    world.configure({"reports": world.add_role()})
    failing.fail(HANGS, world.home / ".config")
    with world.daemon(**failing.environ) as daemon:
        wait_until(lambda: number_of_threads(daemon) > 1, "the start")
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < STOP_TIMEOUT_SECONDS
