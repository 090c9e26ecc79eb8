"""Logs that cannot be written, beside a real daemon whose sessions last five seconds."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.world import World, wait_until

OTHER_UID = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")


def refreshes(world: World) -> int:
    count: int = world.status()["profiles"][0]["refreshes"]
    return count


def log_error(world: World) -> str | None:
    error: str | None = world.status()["daemon"]["log_error"]
    return error


def check_that_refreshing_goes_on(world: World) -> None:
    """Wait for more sessions than are alive at once."""
    before = refreshes(world)
    wait_until(lambda: refreshes(world) >= before + 3, "three more sessions")
    assert world.states() == {"reports": "valid"}


def remove(directory: Path) -> None:
    shutil.rmtree(directory)


def replace_by_directory(directory: Path) -> None:
    (directory / "assumed.log").unlink()
    (directory / "assumed.log").mkdir()


@pytest.mark.parametrize(
    ("break_log", "reason"),
    [(remove, "No such file or directory"), (replace_by_directory, "Is a directory")],
)
def test_a_log_file_that_is_gone_is_replaced_by_standard_error(
    hasty: World, break_log: Callable[[Path], None], reason: str
) -> None:
    directory = hasty.home / "log"
    directory.mkdir()
    log = directory / "assumed.log"
    hasty.configure({"reports": hasty.add_role()})
    with hasty.running("--log-file", str(log)) as daemon:
        assert log_error(hasty) is None
        break_log(directory)
        daemon.wait_for(f'log_failed log="--log-file {log}" error="{reason}" hint=')
        check_that_refreshing_goes_on(hasty)
        daemon.wait_for("profile_refreshed profile=reports", times=3)
        assert daemon.log.read_text().count("log_failed") == 1
        assert log_error(hasty) == f"--log-file {log}: {reason}"
        shown = hasty.run("status").stderr
        assert f"the log of the daemon is not complete: --log-file {log}: {reason}" in shown


@as_root
def test_a_log_file_of_another_user_after_rotation_is_not_written(hasty: World) -> None:
    log = hasty.home / "assumed-file.log"
    hasty.configure({"reports": hasty.add_role()})
    with hasty.running("--log-file", str(log)) as daemon:
        log.rename(hasty.home / "assumed-file.log.1")
        log.touch()
        os.chown(log, OTHER_UID, OTHER_UID)
        daemon.wait_for("log_failed")
        check_that_refreshing_goes_on(hasty)
        assert log.read_text() == ""
        assert "belongs to uid " in (log_error(hasty) or "")


@as_root
def test_a_full_disk_behind_the_log_file_is_reported(hasty: World) -> None:
    directory = hasty.home / "small"
    directory.mkdir()
    mounted = subprocess.run(  # noqa: S603
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this environment allows no mounts")
    try:
        hasty.configure({"reports": hasty.add_role()})
        log = directory / "assumed.log"
        with hasty.running("--log-file", str(log)) as daemon:
            with pytest.raises(OSError, match="No space left"):
                (directory / "fill").write_bytes(bytes(65536))
            with log.open("ab", buffering=0) as rest, pytest.raises(OSError, match="No space left"):
                while True:
                    rest.write(b"\n")
            daemon.wait_for('error="No space left on device"')
            check_that_refreshing_goes_on(hasty)
            assert log_error(hasty) == f"--log-file {log}: No space left on device"
    finally:
        subprocess.run(["/bin/umount", str(directory)], check=True)  # noqa: S603


def start_with_stderr(world: World, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        [*world.assumed, "run", "--log-level", "debug"],
        env=world.environ,
        cwd=world.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )


def test_a_pipe_that_no_one_reads_holds_up_no_refresh_and_no_stop(hasty: World) -> None:
    hasty.configure({"reports": hasty.add_role()})
    reader, writer = os.pipe()
    # Only a page: the pipe is full after the first events.
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"." * 4096)
    os.set_blocking(writer, True)
    daemon = start_with_stderr(hasty, writer)
    os.close(writer)
    try:
        hasty.wait_for_first_pass()
        check_that_refreshing_goes_on(hasty)
        error = log_error(hasty) or ""
        assert error.startswith("standard error accepts no events: ")
        assert error.endswith(" events wait, 0 were dropped")
        # Once someone reads, nothing is lost.
        received = b""
        while received.count(b"profile_refreshed profile=reports") < 4:
            received += os.read(reader, 65536)
        assert b"daemon_started" in received
        wait_until(lambda: log_error(hasty) is None, "the log's recovery")
        started = time.monotonic()
        daemon.terminate()
        assert daemon.wait(10) == 0
        assert time.monotonic() - started < 5
    finally:
        daemon.kill()
        daemon.wait()
        os.close(reader)


def test_a_closed_terminal_ends_nothing(hasty: World) -> None:
    hasty.configure({"reports": hasty.add_role()})
    terminal, own_end = pty.openpty()
    daemon = start_with_stderr(hasty, own_end)
    os.close(own_end)
    try:
        hasty.wait_for_first_pass()
        os.close(terminal)
        check_that_refreshing_goes_on(hasty)
        assert log_error(hasty) == "standard error: Input/output error"
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0
