"""systemd's service managers, controlled with `systemctl`; and hints for machines without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from assumed.errors import ServiceManagerError
from assumed.paths import runtime_directory, user_name

_TIMEOUT_SECONDS = 30
# TimeoutStopSec= and TimeoutStartSec= of the units, plus the time that systemd needs.
_START_TIMEOUT_SECONDS = 100
_RUN_HINT = "run `assumed run` in a terminal or in tmux instead"


class Systemctl:
    """One service manager: the user's own, or the system's.

    Attributes:
        command: what a user types before a verb of `systemctl`.
    """

    def __init__(self, *, is_user: bool) -> None:
        self._scope = "--user" if is_user else "--system"
        self._journalctl = "journalctl --user" if is_user else "journalctl"
        self.command = "systemctl --user" if is_user else "systemctl"

    def show(self, name: str, *units: str) -> str:
        """Return one property of a unit, or of the manager if no unit is given.

        Raises:
            ServiceManagerError: as `run_command`.
        """
        return self._run("show", f"--property={name}", "--value", *units).strip()

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit by name.

        Raises:
            ServiceManagerError: as `run_command`.
        """
        shown = self._run("show", f"--property={','.join(names)}", unit)
        found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return {name: found.get(name, "") for name in names}

    def variables(self, unit: str) -> frozenset[str]:
        """Return the names of the environment variables that the processes of a unit have.

        Raises:
            ServiceManagerError: as `run_command`.
        """
        assignments = self._run("show-environment").splitlines()
        assignments += self.show("Environment", unit).split()
        return frozenset(line.partition("=")[0].strip("\"'") for line in assignments)

    def reload(self) -> None:
        """Make the manager read its unit files again.

        Raises:
            ServiceManagerError: as `run_command`.
        """
        self._run("daemon-reload")

    def enable(self, unit: str) -> None:
        """Start a unit at every login or boot from now on.

        Raises:
            ServiceManagerError: as `run_command`.
        """
        self._run("--quiet", "enable", unit)

    def restart(self, unit: str) -> None:
        """Start or restart a unit; return when it is ready.

        Raises:
            ServiceManagerError: it does not start.
        """
        hint = (
            f"`{self._journalctl} -u {unit} -n 20` shows why; the unit stays installed, "
            "`assumed service uninstall` removes it"
        )
        self._run("restart", unit, timeout_seconds=_START_TIMEOUT_SECONDS, hint=hint)

    def disable_and_stop(self, unit: str) -> None:
        """Stop a unit, do not start it any more, and reset its failure if it has failed.

        Raises:
            ServiceManagerError: as `run_command`.
        """
        # First: without its file, a unit runs on, but `disable` may reject its name.
        if self.show("ActiveState", unit) != "inactive":
            self._run("stop", unit, timeout_seconds=_START_TIMEOUT_SECONDS)
        if self.show("ActiveState", unit) == "failed":
            self._run("reset-failed", unit)
        if self.show("LoadState", unit) != "not-found":
            self._run("--quiet", "disable", unit)

    def _run(
        self, *arguments: str, timeout_seconds: int = _TIMEOUT_SECONDS, hint: str | None = None
    ) -> str:
        return run_command(
            "systemctl",
            self._scope,
            *arguments,
            timeout_seconds=timeout_seconds,
            hint=hint or f"see `{self.command} status`; or {_RUN_HINT}",
        )


def complete_command(
    command: Sequence[str], *, timeout_seconds: int
) -> subprocess.CompletedProcess[str]:
    """Run a program of systemd to its end, whatever its exit status.

    Raises:
        OSError: it does not exist.
        subprocess.TimeoutExpired: it was killed after the time-out.
    """
    return subprocess.run(  # noqa: S603 - a fixed program, and no shell
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout_seconds,
        check=False,
    )


def run_command(
    program: str, *arguments: str, hint: str, timeout_seconds: int = _TIMEOUT_SECONDS
) -> str:
    """Run a program of systemd and return its output.

    Raises:
        ServiceManagerError: it failed, with its error output; it timed out; it does not exist.
    """
    command = " ".join((program, *arguments))
    try:
        done = complete_command([program, *arguments], timeout_seconds=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise ServiceManagerError(
            f"`{command}`: no response within {timeout_seconds} s", hint=hint
        ) from error
    except OSError as error:
        raise ServiceManagerError(f"`{command}`: {error.strerror}", hint=hint) from error
    if done.returncode:
        reason = done.stderr.strip() or f"exit status {done.returncode}"
        raise ServiceManagerError(f"`{command}`: {reason}", hint=hint)
    return done.stdout


def has_systemd() -> bool:
    """Return whether systemd runs this machine, as sd_booted(3) does."""
    return Path("/run/systemd/system").is_dir()


def require_systemd() -> None:
    """Check that systemd runs this machine.

    Raises:
        ServiceManagerError: it does not.
    """
    if shutil.which("systemctl") is None:
        raise ServiceManagerError(
            "there is no systemctl on this machine, so no systemd", hint=_RUN_HINT
        )
    if not has_systemd():
        raise ServiceManagerError(
            "systemd does not run this machine or container",
            hint=hint_without_systemd(Path("/proc/sys/kernel/osrelease").read_text()),
        )


def require_user_manager(environ: Mapping[str, str]) -> None:
    """Check that systemctl can reach the user's service manager from this environment.

    Raises:
        ServiceManagerError: it cannot.
    """
    if runtime_directory(environ) or environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return
    user = user_name()
    if os.geteuid() == 0 and (caller := environ.get("SUDO_USER")):
        raise ServiceManagerError(
            "there is no user manager under sudo",
            hint=f"run this without sudo to install it for {caller}; for a user who never logs in, "
            "run `sudo assumed service install --system USER`",
        )
    raise ServiceManagerError(
        "the user manager cannot be reached: XDG_RUNTIME_DIR is not set, as after `su`",
        hint=f"log in as {user} (`machinectl shell {user}@`, or ssh); if {user} is logged in or "
        f"lingers, `export XDG_RUNTIME_DIR=/run/user/{os.geteuid()}`; or {_RUN_HINT}",
    )


def hint_without_systemd(kernel_release: str) -> str:
    """Return what to do on a machine that systemd does not run, by the release of its kernel."""
    if "microsoft" in kernel_release.lower():
        return (
            "in WSL: add the lines `[boot]` and `systemd=true` to /etc/wsl.conf, then run "
            f"`wsl --shutdown` in Windows; or {_RUN_HINT}"
        )
    return f"{_RUN_HINT}; in a container, make it the container's command"
