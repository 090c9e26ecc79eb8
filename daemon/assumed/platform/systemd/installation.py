"""The daemon as a service: its unit put in its place and taken away again, and nobody else's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assumed.errors import UsageError
from assumed.fsutil import replace_file
from assumed.platform.systemd.systemctl import (
    ServiceManagerError,
    Systemctl,
    require_systemd,
    require_user_manager,
)
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT, is_ours

_SYSTEM_UNITS = Path("/etc/systemd/system")
# What the daemon looks at. A proxy may hold a password, so no value is ever shown or written.
_VARIABLES = (
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Service:
    """A unit, and the file that says what it is."""

    manager: Systemctl
    unit: str
    """What is started: `assumed.service`, or `assumed@USER.service`."""
    file: Path

    def put(self, text: str) -> bool:
        """Put the unit in its place; return whether it was another one before.

        Raises:
            UsageError: there is a file that is not ours, or was edited.
            ServiceManagerError: systemd refuses, or the file can't be written.
        """
        present = self._text()
        if present != text:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                replace_file(self.file, text.encode(), mode=0o644)
            except OSError as error:
                raise _file_error(self.file, error) from error
        self.manager.reload()
        return present != text

    def start(self) -> None:
        """Start it now, or anew, and from now on; return when it is ready.

        Raises:
            ServiceManagerError: it does not start; it stays installed.
        """
        self.manager.enable(self.unit)
        self.manager.restart(self.unit)

    def remove(self) -> bool:
        """Stop the unit, and take its file away; a template stays while others have instances.

        Returns:
            Whether there was anything to take away.

        Raises:
            UsageError: there is a file that is not ours, or was edited.
            ServiceManagerError: systemd refuses, or the file can't be removed.
        """
        if self._text() is None:
            return False
        self.manager.forget(self.unit)
        if not any(self.file.parent.glob("*.wants/assumed@*.service")):
            try:
                self.file.unlink()
            except OSError as error:
                raise _file_error(self.file, error) from error
        self.manager.reload()
        return True

    def main_pid(self) -> int:
        """Return the process of the unit; 0 where it does not run.

        Raises:
            ServiceManagerError: systemd refuses.
        """
        return int(self.manager.show("MainPID", self.unit) or 0)

    def unseen_variables(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Return which variables of this environment count for the daemon and don't reach it.

        Raises:
            ServiceManagerError: systemd refuses.
        """
        given = self.manager.environment(self.unit)
        return tuple(name for name in _VARIABLES if environ.get(name) and name not in given)

    def _text(self) -> str | None:
        """Return the text of the file, which is ours; None where there is none."""
        _require_own_folder(self.file.parent)
        try:
            text = self.file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _file_error(self.file, error) from error
        if not is_ours(text):
            raise UsageError(
                f"{self.file} was not written by `assumed service install`, or was edited since; "
                "it is left as it is",
                hint=f"move it away (`mv {self.file} {self.file}.mine`) and try again; settings of "
                f"your own go beside it: `{self.manager.spoken} edit {self.unit}`",
            )
        return text


def user_service(environ: Mapping[str, str]) -> Service:
    """Return the service of this user.

    Args:
        environ: says where the manager is, and the folder of its units.

    Raises:
        ServiceManagerError: there is no manager, or it looks for units elsewhere.
    """
    require_systemd()
    require_user_manager(environ)
    config_home = environ.get("XDG_CONFIG_HOME", "")
    base = Path(config_home) if config_home.startswith("/") else Path.home() / ".config"
    folder = base / "systemd" / "user"
    manager = Systemctl(is_user=True)
    if str(folder) not in manager.show("UnitPath").split():
        raise ServiceManagerError(
            f"the user manager does not look for units in {folder}",
            hint="it does not know this shell's XDG_CONFIG_HOME or HOME (see `systemctl --user "
            "show-environment`): unset it here, or set it in ~/.config/environment.d/ too and "
            "log in again",
        )
    return Service(manager, USER_UNIT, folder / USER_UNIT)


def system_service(user: str) -> Service:
    """Return the service that the machine's own manager has for a user.

    Raises:
        UsageError: this is not root.
        ServiceManagerError: systemd does not run this machine.
    """
    if os.geteuid() != 0:
        raise UsageError(
            f"--system {user}: only root has units of the whole machine",
            hint="use sudo; for yourself, leave out --system",
        )
    require_systemd()
    unit = SYSTEM_UNIT.replace("@", f"@{user}")
    return Service(Systemctl(is_user=False), unit, _SYSTEM_UNITS / SYSTEM_UNIT)


def _require_own_folder(folder: Path) -> None:
    """Follow nobody else's links, as root with the HOME of a user would."""
    for each in (folder, *folder.parents):
        try:
            owner = each.lstat().st_uid
        except OSError:
            continue
        if owner not in {0, os.geteuid()}:
            raise UsageError(
                f"{folder}: {each} is another user's (uid {owner}): no unit is written or removed "
                "there",
                hint="run this as that user, without sudo",
            )


def _file_error(path: Path, error: OSError) -> ServiceManagerError:
    return ServiceManagerError(f"{path}: {error.strerror}", hint="see who may write there")
