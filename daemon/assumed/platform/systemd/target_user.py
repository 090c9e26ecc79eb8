"""Checks before the installation of a system unit that runs as another user."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from assumed.errors import ConfigurationError, ServiceManagerError, UsageError

_TIMEOUT_SECONDS = 60
_INSTALL_HINT = (
    "install it for all users, by `pipx install` with PIPX_HOME=/opt/pipx and "
    "PIPX_BIN_DIR=/usr/local/bin, and run that program"
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

    def require_program(self, command: Sequence[str], directories: Iterable[Path]) -> None:
        """Check that this user can run a program and only root or this user can change it.

        Args:
            command: the program, with an absolute path, and its arguments.
            directories: what the program consists of.

        Raises:
            UsageError: another user could change it, or it does not run.
        """
        for path in (Path(command[0]), *directories):
            real = path.resolve()
            for each in (path, *path.parents, real, *real.parents):
                # Above the program, distributions allow trusted groups: staff in Debian's
                # /usr/local.
                writer = _other_writer(each.stat(), self._entry, with_group=each in {path, real})
                if writer is not None:
                    raise UsageError(
                        f"{self.name} must not run {path}: {each} {writer}, who could act as "
                        f"{self.name}",
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


def _other_writer(
    status: os.stat_result, user: pwd.struct_passwd, *, with_group: bool
) -> str | None:
    """Return why users other than root and `user` could change a file, as `belongs to jane`."""
    if status.st_uid not in {0, user.pw_uid}:
        return f"belongs to {_user_name(status.st_uid)}"
    # In a sticky directory such as /tmp, users cannot replace the files of others.
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not is_sticky:
        return "is writable by every user"
    if with_group and status.st_mode & stat.S_IWGRP and status.st_gid not in {0, user.pw_gid}:
        return f"is writable by group {status.st_gid}"
    return None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
