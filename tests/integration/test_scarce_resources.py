"""Threads, processes, memory and inotify that are used up for a while, or from the start."""

from __future__ import annotations

import errno
import resource
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.test_passing_faults import (
    FailingFiles,
    check_healed,
    events,
    is_valid,
    needs_compiler,
    seconds_until,
)
from tests.integration.world import AwsServer, Daemon, World, wait_until

ROLES = 20


class Group:
    """A control group; its limits are those of `TasksMax=` and `MemoryMax=`."""

    def __init__(self, directory: Path, limit: str) -> None:
        self._limit = directory / limit
        self._members = directory / "cgroup.procs"

    def limit(self, value: object) -> None:
        self._limit.write_text(str(value))

    def add(self, pid: int) -> None:
        self._members.write_text(str(pid))


@contextmanager
def group(controller: str) -> Iterator[Group]:
    name = f"assumed-test-{uuid.uuid4().hex[:8]}"
    root = Path("/sys/fs/cgroup")
    limit = {"pids": "pids.max", "memory": "memory.limit_in_bytes"}[controller]
    directory = root / controller / name
    if not directory.parent.is_dir():
        directory, limit = root / name, {"pids": "pids.max", "memory": "memory.max"}[controller]
    try:
        directory.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be created: {error.strerror}")
    if not (directory / limit).exists():
        directory.rmdir()
        pytest.skip(f"control groups have no limit {limit}")
    try:
        yield Group(directory, limit)
    finally:
        # The processes have ended; the kernel may still count one.
        wait_until(lambda: _is_removed(directory), "the end of the control group")


def _is_removed(directory: Path) -> bool:
    with suppress(OSError):
        directory.rmdir()
    return not directory.exists()


@contextmanager
def daemon_in(world: World, limited: Group, value: int) -> Iterator[Daemon]:
    """Start a daemon in a group with a limit."""
    limited.limit(value)
    before = world.assumed
    command = f'echo $$ >{limited._members} && exec "$@"'
    world.assumed = ["/bin/sh", "-c", command, "sh", *before]
    daemon = world.daemon()
    world.assumed = before
    with daemon:
        yield daemon


def configure_many(world: World) -> list[str]:
    role = world.add_role()
    names = [f"role-{number}" for number in range(ROLES)]
    world.configure(dict.fromkeys(names, role))
    return names


@pytest.fixture
def failing(tmp_path_factory: pytest.TempPathFactory) -> FailingFiles:
    return FailingFiles(tmp_path_factory.mktemp("failing"))


@pytest.fixture
def brief_world(tmp_path: Path) -> Iterator[World]:
    """A world whose sessions last 36 seconds, so that they fall due during the trouble."""
    server = AwsServer(lifetime_scale=0.01)
    yield World(tmp_path, server)
    server.stop()


@pytest.mark.parametrize(("controller", "value"), [("pids", 20), ("memory", 128 << 20)])
def test_it_works_with_20_tasks_and_with_128_mib(world: World, controller: str, value: int) -> None:
    names = configure_many(world)
    with group(controller) as limited, daemon_in(world, limited, value) as daemon:
        wait_until(lambda: is_valid(world, *names), "the profiles")
        assert "refresh_failed" not in daemon.log.read_text()
        assert daemon.stop() == 0


def test_it_works_with_64_descriptors(world: World) -> None:
    names = configure_many(world)
    world.assumed = ["/bin/sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", *world.assumed]
    with world.daemon() as daemon:
        wait_until(lambda: is_valid(world, *names), "the profiles")
        assert "refresh_failed" not in daemon.log.read_text()
        assert daemon.stop() == 0


def test_with_too_few_tasks_it_ends_with_one_message_that_says_what_it_needs(
    world: World,
) -> None:
    configure_many(world)
    with group("pids") as limited, daemon_in(world, limited, 8) as daemon:
        wait_until(lambda: daemon.process.poll() is not None, "the end")
        assert daemon.process.poll() == 1
        text = daemon.log.read_text()
        assert "assumed cannot run: no thread can be started" in text
        assert "16 tasks and 64 MiB" in text
        assert "Traceback" not in text


def test_threads_that_are_used_up_for_a_while_are_named_and_refreshes_go_on(
    brief_world: World,
) -> None:
    world = brief_world
    names = configure_many(world)
    with group("pids") as limited, world.running() as daemon:
        limited.add(daemon.pid)
        limited.limit(1)
        daemon.wait_for("resource_exhausted")
        fault = "no thread can be started"
        assert fault in world.status()["daemon"]["local_fault"]
        limited.limit("max")
        check_healed(seconds_until(lambda: is_valid(world, *names), "the profiles"))
        wait_until(lambda: world.status()["daemon"]["local_fault"] is None, "the end of it", 60)
        assert len(events(daemon, "resource_exhausted")) == 1
        assert "Traceback" not in daemon.log.read_text()


def test_memory_that_is_used_up_for_a_while_is_named_and_heals(brief_world: World) -> None:
    world = brief_world
    role = world.add_role()
    world.configure(dict.fromkeys(("one", "two"), role))
    with world.running() as daemon:
        before = resource.prlimit(daemon.pid, resource.RLIMIT_AS)
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (1 << 20, before[1]))
        # The AWS files are read again, which takes memory.
        world.credentials.with_name("config").write_text(f"[profile {'x' * (48 << 20)}]\n")
        daemon.wait_for("resource_exhausted")
        assert daemon.process.poll() is None
        world.credentials.with_name("config").unlink()
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, before)
        check_healed(seconds_until(lambda: bool(events(daemon, "aws_files_readable")), "it"))
        assert is_valid(world, "one", "two")
        assert "Traceback" not in daemon.log.read_text()


@needs_compiler
@pytest.mark.parametrize(("number", "what"), [(errno.EMFILE, ""), (errno.ENOSPC, "{home}/.config")])
def test_inotify_that_is_used_up_is_named_and_changes_are_noticed_without(
    world: World, failing: FailingFiles, number: int, what: str
) -> None:
    role = world.add_role()
    world.configure({"one": role})
    failing.fail(number, f"inotify:{what.format(home=world.home)}")
    with world.running(**failing.environ) as daemon:
        daemon.wait_for("file_watch_unavailable")
        assert "inotify" in world.status()["daemon"]["local_fault"]
        world.configure({"one": role, "two": role})
        check_healed(seconds_until(lambda: is_valid(world, "one", "two"), "the new profile"))
        failing.work()
        wait_until(lambda: world.status()["daemon"]["local_fault"] is None, "the end", 75)
        assert len(events(daemon, "file_watch_unavailable")) == 1
        assert "Traceback" not in daemon.log.read_text()


def test_a_credential_process_that_cannot_be_started_for_a_while_heals(
    brief_world: World,
) -> None:
    world = brief_world
    role = world.add_role()
    keys = [
        line.split(" = ")[1].strip() for line in world.credentials.read_text().splitlines()[2:4]
    ]
    # It has to run for each refresh.
    expiration = "$(date -u -d '+5 seconds' +%Y-%m-%dT%H:%M:%SZ)"
    answer = f'{{\\"Version\\":1,\\"AccessKeyId\\":\\"{keys[0]}\\",'
    answer += f'\\"SecretAccessKey\\":\\"{keys[1]}\\",\\"Expiration\\":\\"{expiration}\\"}}'
    program = world.home / "keys.sh"
    program.write_text(f'#!/bin/sh\necho "{answer}"\n')
    program.chmod(0o700)
    config = world.credentials.with_name("config")
    config.write_text(f"[profile src]\ncredential_process = {program}\n")
    world.configure({"reports": {"role_arn": role, "source_profile": "src"}})
    with group("pids") as limited, world.running() as daemon:
        assert is_valid(world, "reports")
        limited.add(daemon.pid)
        limited.limit(1)
        daemon.wait_for("LocalFault")
        assert "Resource temporarily unavailable" in daemon.log.read_text()
        limited.limit("max")
        check_healed(seconds_until(lambda: is_valid(world, "reports"), "the profile"))
        assert "Traceback" not in daemon.log.read_text()
