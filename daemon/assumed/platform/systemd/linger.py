"""Lingering: systemd starts the user's service manager at boot and keeps it after logout.

A mark file records that this program enabled it, so that `service uninstall` disables it only then.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assumed.paths import state_directory
from assumed.platform.systemd.systemctl import run_command
from assumed.server.unix_socket import private_directory

_LINGERING_USERS = Path("/var/lib/systemd/linger")


def is_lingering(user: str) -> bool:
    """Return whether lingering is enabled for a user, as logind records it."""
    return (_LINGERING_USERS / user).exists()


def enable_linger(user: str, environ: Mapping[str, str]) -> bool:
    """Enable lingering; return False if it was enabled before.

    Raises:
        ServiceManagerError: this user is not allowed to.
    """
    if is_lingering(user):
        return False
    _set_linger("enable-linger", user)
    mark = _mark(environ)
    private_directory(mark.parent)
    mark.touch()
    return True


def disable_linger(user: str, environ: Mapping[str, str]) -> bool:
    """Disable lingering if `enable_linger` enabled it; return whether it did.

    Raises:
        ServiceManagerError: this user is not allowed to.
    """
    mark = _mark(environ)
    if not mark.exists():
        return False
    _set_linger("disable-linger", user)
    mark.unlink()
    return True


def _set_linger(verb: str, user: str) -> None:
    hint = f"root can do it: `sudo loginctl {verb} {user}`"
    run_command("loginctl", "--no-ask-password", verb, user, hint=hint)


def _mark(environ: Mapping[str, str]) -> Path:
    return Path(state_directory(environ), "linger-enabled")
