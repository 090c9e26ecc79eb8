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
    """A socket that receives notifications, as systemd does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self.messages: list[str] = []

    def fill(self) -> None:
        """Fill the queue, so that there is no room for another message."""
        with suppress(BlockingIOError):
            while True:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.setblocking(False)
                    sender.sendto(b"STATUS=of another", self._socket.getsockname())

    def received(self, *expected: str) -> bool:
        """Return whether these messages arrived in this order, perhaps with others between them."""
        while True:
            try:
                self.messages += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                break
        messages = iter(self.messages)
        return all(any(each.startswith(one) for each in messages) for one in expected)

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


def test_the_daemon_notifies_systemd_of_start_reload_and_stop(
    world: World, manager: Manager
) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager) as daemon:
        status = "STATUS=1 of 1 profiles valid, next refresh "
        wait_until(lambda: manager.received("READY=1", status), "READY")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: manager.received("READY=1", "RELOADING=1", "READY=1"), "the reload")
        world.write_config("nonsense\n")
        daemon.signal(signal.SIGHUP)
        rejected = ["RELOADING=1", "READY=1", "RELOADING=1", "READY=1"]
        wait_until(lambda: manager.received(*rejected), "the rejected reload")
        status = "STATUS=1 of 1 profiles valid, next refresh"
        wait_until(lambda: manager.received(*rejected, status), "the status")
        assert manager.messages[-1].endswith("; the configuration on disk was rejected")
        daemon.stop()
        assert manager.received("STOPPING=1")


def test_a_systemd_that_does_not_read_blocks_neither_reload_nor_stop(
    world: World, manager: Manager
) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager) as daemon:
        wait_until(lambda: manager.received("READY=1", "STATUS="), "READY")
        manager.fill()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config_reloaded")
        assert daemon.stop() == 0
        assert not manager.received("STOPPING=1")


def test_the_daemon_notifies_an_abstract_socket(world: World) -> None:
    world.configure({"reports": world.add_role()})
    manager = Manager(Path(f"\0assumed-test-{os.getpid()}"))
    name = str(manager.path).replace("\0", "@")
    with world.daemon(NOTIFY_SOCKET=name):
        wait_until(lambda: manager.received("READY=1"), "READY")
    manager.close()


def test_the_daemon_is_ready_after_one_attempt_for_each_profile(
    world: World, manager: Manager
) -> None:
    role = world.add_role(trusts="arn:aws:iam::123456789012:user/other")
    world.configure({"denied": role})
    with notifying(world, manager):
        wait_until(lambda: manager.received("READY=1"), "READY")
        # A heartbeat may have sent it before.
        wait_until(lambda: manager.received("STATUS=0 of 1 profiles valid"), "the status")


def check_sent_once(manager: Manager, status: str) -> None:
    """Check that heartbeats do not repeat a status; two threads may have sent it at once."""
    wait_until(lambda: manager.received(status, "WATCHDOG=1"), "the next heartbeat")
    count = sum(message.startswith(status) for message in manager.messages)
    wait_until(lambda: manager.received(status, *["WATCHDOG=1"] * 4), "more heartbeats")
    assert sum(message.startswith(status) for message in manager.messages) == count


def test_a_status_is_sent_again_only_if_it_was_not_received(world: World, manager: Manager) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager, WATCHDOG_USEC=str(3_000_000)) as daemon:
        status = "STATUS=1 of 1 profiles valid, next refresh"
        wait_until(lambda: manager.received("READY=1") and manager.received(status), "the status")
        check_sent_once(manager, status)

        manager.close()
        manager.path.unlink()
        world.write_config("nonsense\n")
        daemon.wait_for("config_rejected")
        another = Manager(manager.path)
        wait_until(lambda: another.received(status), "the status again")
        check_sent_once(another, status)
        another.close()


def test_the_daemon_sends_keep_alives_in_time(world: World, manager: Manager) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager, WATCHDOG_USEC=str(6_000_000)):
        wait_until(lambda: manager.received(*["WATCHDOG=1"] * 4), "the fourth keep-alive")


def test_a_stopped_daemon_sends_no_keep_alive(world: World, manager: Manager) -> None:
    world.configure({"reports": world.add_role()})
    with notifying(world, manager, WATCHDOG_USEC=str(3_000_000)) as daemon:
        wait_until(lambda: manager.received("WATCHDOG=1"), "the first keep-alive")
        daemon.signal(signal.SIGSTOP)
        manager.received()
        sent = manager.messages.count("WATCHDOG=1")
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(3)
        manager.received()
        assert manager.messages.count("WATCHDOG=1") - sent <= 1
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
def test_watchdog_interval_reads_the_variables_of_systemd(
    environ: dict[str, str], expected: timedelta | None
) -> None:
    assert watchdog_interval(environ, 7) == expected


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(("unit", "options"), [("assumed", ["--user"]), ("assumed@", [])])
def test_systemd_analyze_accepts_the_units(tmp_path: Path, unit: str, options: list[str]) -> None:
    text = (UNITS / f"{unit}.service").read_text()
    # systemd-analyze checks that the program exists.
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
def test_each_hardening_setting_says_when_to_relax_it(unit: Path) -> None:
    """Each group of settings has a comment above it, up to the next comment."""
    text = unit.read_text()
    hardening = text.partition("A credential_process runs under the same rules")[2]
    groups = hardening.partition("[Install]")[0].split("\n#")[1:]
    assert groups
    for group in groups:
        if "=yes" in group or "Restrict" in group.partition("\n")[2]:
            assert "elax" in group.partition("=")[0]
