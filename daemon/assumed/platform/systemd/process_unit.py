"""The unit that a process belongs to, and the command that stops it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def stop_command(pid: int) -> str:
    """Return the command with which a user stops the daemon that has this process ID."""
    cgroups = ""
    with suppress(OSError):
        cgroups = Path(f"/proc/{pid}/cgroup").read_text()
    return stop_command_for(pid, cgroups)


def stop_command_for(pid: int, cgroups: str) -> str:
    """Return the command that stops a process.

    Args:
        pid: its process ID.
        cgroups: its `/proc/PID/cgroup`: systemd puts each unit into a cgroup of its name.
    """
    for line in cgroups.splitlines():
        *slices, unit = line.split(":", 2)[-1].split("/")
        if unit.startswith("assumed") and unit.endswith(".service"):
            is_user = any(each.startswith("user@") for each in slices)
            name = unit.removesuffix(".service")
            return f"systemctl --user stop {name}" if is_user else f"sudo systemctl stop {name}"
    return f"kill {pid}"
