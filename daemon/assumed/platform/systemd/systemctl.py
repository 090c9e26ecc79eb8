"""systemd's managers, asked through `systemctl` and `loginctl`; and why there may be none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from assumed.errors import ServiceManagerError
from assumed.fastpath.unix_http import user_name

_QUICK_SECONDS = 30
# TimeoutStopSec= and TimeoutStartSec= of the units, and what systemd itself takes.
_START_SECONDS = 100
_IN_THE_FOREGROUND = "`assumed run` does the same in a terminal or in tmux"


class Systemctl:
    """One manager: the user's own, or the machine's."""

    def __init__(self, *, is_user: bool) -> None:
        self._scope = "--user" if is_user else "--system"
        self.spoken = "systemctl --user" if is_user else "systemctl"
        """As people type it."""
        self.journal = "journalctl --user" if is_user else "journalctl"

    def show(self, what: str, *units: str) -> str:
        """Return one property, of the manager where no unit is named.

        Raises:
            ServiceManagerError: as `ask`.
        """
        return self._run("show", f"--property={what}", "--value", *units).strip()

    def environment(self, unit: str) -> frozenset[str]:
        """Return the names of the variables that a unit's process is given by this manager.

        Raises:
            ServiceManagerError: as `ask`.
        """
        given = self._run("show-environment").splitlines()
        given += self.show("Environment", unit).split()
        return frozenset(line.partition("=")[0].strip("\"'") for line in given)

    def reload(self) -> None:
        """Have the units read again.

        Raises:
            ServiceManagerError: as `ask`.
        """
        self._run("daemon-reload")

    def enable(self, unit: str) -> None:
        """Have a unit started from now on, at login or at boot.

        Raises:
            ServiceManagerError: as `ask`.
        """
        self._run("--quiet", "enable", unit)

    def restart(self, unit: str) -> None:
        """Start a unit anew, and return when it is ready.

        Raises:
            ServiceManagerError: it does not start.
        """
        hint = (
            f"`{self.journal} -u {unit} -n 20` says why; the unit stays installed: "
            "`assumed service uninstall` takes it away"
        )
        self._run("restart", unit, seconds=_START_SECONDS, hint=hint)

    def forget(self, unit: str) -> None:
        """Stop a unit, start it no more, and remember no failure of it.

        Raises:
            ServiceManagerError: as `ask`.
        """
        self._run("--quiet", "disable", "--now", unit)
        if self.show("ActiveState", unit) == "failed":
            self._run("reset-failed", unit)

    def _run(self, *arguments: str, seconds: int = _QUICK_SECONDS, hint: str | None = None) -> str:
        hint = hint or f"see `{self.spoken} status`; {_IN_THE_FOREGROUND}"
        return ask("systemctl", self._scope, *arguments, seconds=seconds, hint=hint)


def ask(program: str, *arguments: str, hint: str, seconds: int = _QUICK_SECONDS) -> str:
    """Run one of systemd's own programs, and return what it prints.

    Raises:
        ServiceManagerError: it failed, with what it said; it takes too long, or is not there.
    """
    spoken = " ".join((program, *arguments))
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, and no shell
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceManagerError(f"`{spoken}`: no answer within {seconds} s", hint=hint) from error
    except OSError as error:
        raise ServiceManagerError(f"`{spoken}`: {error.strerror}", hint=hint) from error
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise ServiceManagerError(f"`{spoken}`: {said}", hint=hint)
    return done.stdout


def require_systemd() -> None:
    """Make sure that systemd runs this machine.

    Raises:
        ServiceManagerError: it does not, and what to do instead.
    """
    if shutil.which("systemctl") is None:
        raise ServiceManagerError(
            "there is no systemctl: no systemd on this machine", hint=_IN_THE_FOREGROUND
        )
    # As sd_booted(3) has it.
    if not Path("/run/systemd/system").is_dir():
        raise ServiceManagerError(
            "systemd does not run this machine or container",
            hint=without_systemd(Path("/proc/sys/kernel/osrelease").read_text()),
        )


def require_user_manager(environ: Mapping[str, str]) -> None:
    """Make sure that this environment can lead to the user's own manager.

    Raises:
        ServiceManagerError: it can't, and what to do instead.
    """
    if environ.get("XDG_RUNTIME_DIR") or environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return
    user = user_name()
    if os.geteuid() == 0 and (caller := environ.get("SUDO_USER")):
        raise ServiceManagerError(
            "under sudo there is no user manager",
            hint=f"without sudo it is installed for {caller}; for a user who never logs in: "
            "`sudo assumed service install --system USER`",
        )
    raise ServiceManagerError(
        "the user manager can't be reached: XDG_RUNTIME_DIR is not set, as in a shell of su",
        hint=f"log in as {user} (`machinectl shell {user}@`, or ssh), or, where {user} is logged "
        f"in or lingers, `export XDG_RUNTIME_DIR=/run/user/{os.geteuid()}`; {_IN_THE_FOREGROUND}",
    )


def without_systemd(kernel_release: str) -> str:
    """Return what to do on a machine with this kernel that systemd does not run."""
    if "microsoft" in kernel_release.lower():
        return (
            "in WSL: write `[boot]` and below it `systemd=true` into /etc/wsl.conf, then "
            f"`wsl --shutdown` in Windows; or {_IN_THE_FOREGROUND}"
        )
    return f"{_IN_THE_FOREGROUND}, and as the command of a container"
