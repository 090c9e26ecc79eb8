"""The unit that a process belongs to, and the commands that stop and restart it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


def stop_command(pid: int) -> str:
    """Return the command with which a user stops the daemon that has this process ID."""
    return stop_command_for(pid, _cgroups(pid))


def stop_command_for(pid: int, cgroups: str) -> str:
    """Return the command that stops a process.

    Args:
        pid: its process ID.
        cgroups: its `/proc/PID/cgroup`: systemd puts each unit into a cgroup of its name.
    """
    unit = _unit(cgroups)
    return f"kill {pid}" if unit is None else f"{unit.systemctl} stop {unit.name}"


def restart_advice(pid: int) -> str:
    """Return how a user restarts the daemon that has this process ID."""
    return restart_advice_for(pid, _cgroups(pid))


def restart_advice_for(pid: int, cgroups: str) -> str:
    """Return how a user restarts a process; the arguments are those of `stop_command_for`."""
    unit = _unit(cgroups)
    if unit is None:
        return f"stop it (`kill {pid}`) and start it again"
    name, _, user = unit.name.partition("@")
    if name != "assumed" or bool(user) is unit.is_user:
        return f"`{unit.systemctl} restart {unit.name}`"
    return (
        f"`sudo assumed service restart --system {user}`" if user else "`assumed service restart`"
    )


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    is_user: bool

    @property
    def systemctl(self) -> str:
        return "systemctl --user" if self.is_user else "sudo systemctl"


def _unit(cgroups: str) -> _Unit | None:
    for line in cgroups.splitlines():
        *slices, unit = line.split(":", 2)[-1].split("/")
        if unit.startswith("assumed") and unit.endswith(".service"):
            is_user = any(each.startswith("user@") for each in slices)
            return _Unit(unit.removesuffix(".service"), is_user)
    return None


def _cgroups(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cgroup").read_text()
    return ""
