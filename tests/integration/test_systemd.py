from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assumed.platform.systemd.notify import watchdog_interval
from tests.integration.world import World, wait_until
from tests.repository import REPOSITORY

UNITS = REPOSITORY / "systemd"


class Manager:
    """What listens at NOTIFY_SOCKET, as systemd does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self.said: list[str] = []

    def fill(self) -> None:
        """Have no room for one more message."""
        with suppress(BlockingIOError):
            while True:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.setblocking(False)
                    sender.sendto(b"STATUS=of another", self._socket.getsockname())

    def hears(self, *expected: str) -> bool:
        """Whether these messages have come, in this order, others between them."""
        while True:
            try:
                self.said += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                break
        said = iter(self.said)
        return all(any(line.startswith(one) for line in said) for one in expected)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@contextmanager
def notifying(world: World, manager: Manager, **environ: str) -> Iterator[Any]:
    with world.daemon(NOTIFY_SOCKET=str(manager.path), **environ) as daemon:
        yield daemon


def test_systemd_hears_of_ready_reloads_and_the_stop(world: World, manager: Manager) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager) as daemon:
        status = "STATUS=1 of 1 profiles valid, next refresh "
        wait_until(lambda: manager.hears("READY=1", status), "READY")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: manager.hears("READY=1", "RELOADING=1", "READY=1"), "the reload")
        world.write_config("nonsense\n")
        daemon.signal(signal.SIGHUP)
        refused = ["RELOADING=1", "READY=1", "RELOADING=1", "READY=1"]
        wait_until(lambda: manager.hears(*refused), "the refused reload")
        told = "STATUS=1 of 1 profiles valid, next refresh"
        wait_until(lambda: manager.hears(*refused, told), "the status")
        assert manager.said[-1].endswith("; the configuration on disk is wrong and not used")
        daemon.stop()
        assert manager.hears("STOPPING=1")


def test_a_systemd_that_reads_nothing_holds_up_neither_the_daemon_nor_its_stop(
    world: World, manager: Manager
) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager) as daemon:
        wait_until(lambda: manager.hears("READY=1", "STATUS="), "READY")
        manager.fill()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config_reloaded")
        assert daemon.stop() == 0
        assert not manager.hears("STOPPING=1")


def test_an_abstract_address_is_understood(world: World) -> None:
    world.configure({"reports": world.add_role()})
    manager = Manager(Path(f"\0assumed-test-{os.getpid()}"))
    name = str(manager.path).replace("\0", "@")
    with world.daemon(NOTIFY_SOCKET=name):
        wait_until(lambda: manager.hears("READY=1"), "READY")
    manager.close()


def test_ready_comes_when_every_profile_was_tried_whatever_came_of_it(
    world: World, manager: Manager
) -> None:
    role = world.add_role(trusts="arn:aws:iam::123456789012:user/somebody-else")
    world.configure({"denied": role})
    with notifying(world, manager):
        wait_until(lambda: manager.hears("READY=1"), "READY")
        # A beat may have told it before.
        wait_until(lambda: manager.hears("STATUS=0 of 1 profiles valid"), "the status")


def is_told_once(manager: Manager, told: str) -> None:
    """See that a status is not told at each beat; two threads may have told it at once."""
    wait_until(lambda: manager.hears(told, "WATCHDOG=1"), "the beat after it")
    count = sum(line.startswith(told) for line in manager.said)
    wait_until(lambda: manager.hears(told, *["WATCHDOG=1"] * 4), "more beats")
    assert sum(line.startswith(told) for line in manager.said) == count


def test_a_status_is_told_again_where_it_was_not_heard_and_only_there(
    world: World, manager: Manager
) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager, WATCHDOG_USEC=str(3_000_000)) as daemon:
        told = "STATUS=1 of 1 profiles valid, next refresh"
        wait_until(lambda: manager.hears("READY=1") and manager.hears(told), "the status")
        is_told_once(manager, told)

        manager.close()
        manager.path.unlink()
        world.write_config("nonsense\n")
        daemon.wait_for("config_rejected")
        another = Manager(manager.path)
        wait_until(lambda: another.hears(told), "what nobody heard")
        is_told_once(another, told)
        another.close()


def test_the_watchdog_is_fed_at_least_twice_in_its_time(world: World, manager: Manager) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager, WATCHDOG_USEC=str(6_000_000)):
        wait_until(lambda: manager.hears(*["WATCHDOG=1"] * 4), "the fourth beat")


def test_a_stopped_scheduler_does_not_feed_the_watchdog(world: World, manager: Manager) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager, WATCHDOG_USEC=str(3_000_000)) as daemon:
        wait_until(lambda: manager.hears("WATCHDOG=1"), "the first beat")
        daemon.signal(signal.SIGSTOP)
        manager.hears()
        fed = manager.said.count("WATCHDOG=1")
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(3)
        manager.hears()
        assert manager.said.count("WATCHDOG=1") - fed <= 1
        daemon.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, timedelta(seconds=20)),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, timedelta(seconds=20)),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_interval_is_read_as_systemd_writes_it(
    environ: dict[str, str], expected: timedelta | None
) -> None:
    assert watchdog_interval(environ, 7) == expected


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(("unit", "options"), [("assumed", ["--user"]), ("assumed@", [])])
def test_systemd_finds_nothing_wrong_with_the_units(
    tmp_path: Path, unit: str, options: list[str]
) -> None:
    text = (UNITS / f"{unit}.service").read_text()
    # The program has to be there: where it is installed is another matter.
    for program in ("%h/.local/bin/assumed", "/usr/local/bin/assumed"):
        text = text.replace(program, "/bin/true")
    file = tmp_path / f"{unit}{'me' if unit.endswith('@') else ''}.service"
    file.write_text(text)
    verified = subprocess.run(  # noqa: S603
        ["systemd-analyze", *options, "verify", str(file)],  # noqa: S607
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("unit", sorted(UNITS.iterdir()), ids=lambda unit: unit.name)
def test_each_hardening_line_says_when_to_relax_it(unit: Path) -> None:
    """A comment stands above each group of them; a group ends where the next comment begins."""
    text = unit.read_text()
    hardening = text.partition("A credential_process runs under the same rules")[2]
    groups = hardening.partition("[Install]")[0].split("\n#")[1:]
    assert groups
    for group in groups:
        if "=yes" in group or "Restrict" in group.partition("\n")[2]:
            assert "elax" in group.partition("=")[0]
