"""Whether this installation, and a configuration, are fit for another user's daemon."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from assumed.errors import ConfigurationError, ServiceManagerError, UsageError

_SECONDS = 60
_FOR_ALL = "install it for all users: `pipx install --global`, and run that one"


class TargetUser:
    """A user of this machine.

    Raises:
        UsageError: there is no such user.
    """

    def __init__(self, name: str) -> None:
        try:
            self._entry = pwd.getpwnam(name)
        except KeyError:
            raise UsageError(
                f"--system {name}: there is no such user on this machine",
                hint="name the user whose credentials are to be kept fresh",
            ) from None
        self.name = name

    def require_program(self, command: Sequence[str], folders: Iterable[Path]) -> None:
        """Make sure that this user can run a program, and only root or they can change it.

        Args:
            command: what starts it, from an absolute path on.
            folders: what it is made of.

        Raises:
            UsageError: it is somebody else's, or does not run.
        """
        for path in (Path(command[0]), *folders):
            real = path.resolve()
            for each in (path, *path.parents, real, *real.parents):
                # Further up that is a habit of distributions: Debian's /usr/local is its staff's.
                who = _others(each.stat(), self._entry, with_group=each in {path, real})
                if who is not None:
                    raise UsageError(
                        f"{path} is not for {self.name} to run: {each} {who}, who could act as "
                        f"{self.name}",
                        hint=_FOR_ALL,
                    )
        try:
            tried = self.run([*command, "--version"])
        except OSError as error:
            raise self._does_not_run(command, error.strerror or "") from error
        if tried.returncode:
            raise self._does_not_run(command, tried.stderr.strip())

    def require_configuration(self, command: Sequence[str]) -> None:
        """Make sure that this user has a configuration without mistakes.

        Raises:
            ConfigurationError: with what `check` says to this user.
        """
        checked = self.run([*command, "check"])
        if checked.returncode == ConfigurationError.exit_status:
            raise ConfigurationError(
                checked.stderr.splitlines(),
                hint=f"that is what {self.name} would use; nothing was installed",
            )

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, in the surroundings of a system unit.

        Raises:
            OSError: this user can't execute it.
            ServiceManagerError: it does not end.
        """
        try:
            return subprocess.run(  # noqa: S603 - this very program
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
                # Away from root's terminal, into which it could type (TIOCSTI).
                start_new_session=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceManagerError(
                f"`{' '.join(command)}` as {self.name}: no end within {_SECONDS} s",
                hint=f"try it: `runuser -u {self.name} -- {' '.join(command)}`",
            ) from error

    def _does_not_run(self, command: Sequence[str], reason: str) -> UsageError:
        return UsageError(f"{self.name} can't run {command[0]}: {reason}", hint=_FOR_ALL)


def _others(status: os.stat_result, user: pwd.struct_passwd, *, with_group: bool) -> str | None:
    """Return who but root and a user may change a file or folder, as `belongs to jane`."""
    if status.st_uid not in {0, user.pw_uid}:
        return f"belongs to {_user_name(status.st_uid)}"
    # In a sticky folder, such as /tmp, nobody can replace what is another's.
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not is_sticky:
        return "is writable by everybody"
    if with_group and status.st_mode & stat.S_IWGRP and status.st_gid not in {0, user.pw_gid}:
        return f"is writable by group {status.st_gid}"
    return None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
