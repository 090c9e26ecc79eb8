"""Another user, with a system unit that root installs and commands that root runs."""

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
    "install it as root for all users, and run that program: the Debian package, or "
    "`PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install .` in a clone; only root may be "
    "able to change it"
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
        tried = self.run([*command, "--version"])
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
                hint=f"{self.name} would use this configuration; nothing was changed",
            )

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, with the environment of a system unit.

        Raises:
            UsageError: this user cannot execute it.
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
                    **self._runtime_directory(),
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
        except OSError as error:
            raise self._does_not_run(command, error.strerror or "") from error
        except subprocess.TimeoutExpired as error:
            raise ServiceManagerError(
                f"`{' '.join(command)}` as {self.name}: not finished within {_TIMEOUT_SECONDS} s",
                hint=f"run it to see why: `runuser -u {self.name} -- {' '.join(command)}`",
            ) from error

    def _runtime_directory(self) -> dict[str, str]:
        """Return where a daemon of the user manager of this user listens, if it runs."""
        directory = Path("/run/user", str(self._entry.pw_uid))
        return {"XDG_RUNTIME_DIR": str(directory)} if directory.is_dir() else {}

    def _does_not_run(self, command: Sequence[str], reason: str) -> UsageError:
        return UsageError(f"{self.name} cannot run {command[0]}: {reason}", hint=_INSTALL_HINT)
