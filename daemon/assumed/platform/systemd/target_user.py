"""Checks before the installation of a system unit that runs as another user."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from assumed.errors import ConfigurationError, ServiceManagerError, UsageError
from assumed.platform.systemd.program_trust import untrusted_part

_TIMEOUT_SECONDS = 60
_INSTALL_HINT = (
    "install it as root for all users with `pipx install --global`, and run that program; only "
    "root may be able to change it"
)


class TargetUser:
    """The user whose daemon the system unit runs.

    Raises:
        UsageError: there is no such user.
    """

    def __init__(self, name: str) -> None:
        try:
            self._entry = pwd.getpwnam(name)
        except KeyError:
            raise UsageError(
                f"--system {name}: there is no such user on this machine",
                hint="name the user whose credentials the daemon refreshes",
            ) from None
        self.name = name

    def require_program(self, command: Sequence[str], installation: Iterable[Path]) -> None:
        """Check that this user can run a program and only root can change it.

        Root runs it too, so it must not belong to this user either.

        Args:
            command: the program, with an absolute path, and its arguments.
            installation: the files and directories that the program consists of.

        Raises:
            UsageError: another user could change it, or it does not run.
        """
        found = untrusted_part([Path(command[0]), *installation])
        if found is not None:
            raise UsageError(
                f"{command[0]} must not run as {self.name}: {found.path} {found.reason}",
                hint=_INSTALL_HINT,
            )
        try:
            tried = self.run([*command, "--version"])
        except OSError as error:
            raise self._does_not_run(command, error.strerror or "") from error
        if tried.returncode:
            raise self._does_not_run(command, tried.stderr.strip())

    def require_configuration(self, command: Sequence[str]) -> None:
        """Check that this user has a valid configuration.

        Raises:
            ConfigurationError: with the problems that `check` reports to this user.
        """
        checked = self.run([*command, "check"])
        if checked.returncode == ConfigurationError.exit_status:
            said = checked.stderr.strip()
            raise ConfigurationError(
                [said.removeprefix(f"assumed: {ConfigurationError.code}: ")],
                hint=f"{self.name} would use this configuration; nothing was installed",
            )

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, with the environment of a system unit.

        Raises:
            OSError: this user cannot execute it.
            ServiceManagerError: it timed out.
        """
        try:
            return subprocess.run(  # noqa: S603 - this program itself
                command,
                user=self._entry.pw_uid,
                group=self._entry.pw_gid,
                extra_groups=os.getgrouplist(self.name, self._entry.pw_gid),
                env={
                    "HOME": self._entry.pw_dir,
                    "USER": self.name,
                    "LOGNAME": self.name,
                    "PATH": os.defpath,
                },
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                # Without root's terminal: it could insert input there (TIOCSTI).
                start_new_session=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceManagerError(
                f"`{' '.join(command)}` as {self.name}: not finished within {_TIMEOUT_SECONDS} s",
                hint=f"run it to see why: `runuser -u {self.name} -- {' '.join(command)}`",
            ) from error

    def _does_not_run(self, command: Sequence[str], reason: str) -> UsageError:
        return UsageError(f"{self.name} cannot run {command[0]}: {reason}", hint=_INSTALL_HINT)
