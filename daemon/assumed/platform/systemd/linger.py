"""Lingering: the manager of a user runs from boot on, and not only between login and logout.

A mark of our own remembers who switched it on, so that nobody else's choice is undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assumed.platform.systemd.systemctl import ask
from assumed.server.unix_socket import private_directory, state_folder

_LINGERING = Path("/var/lib/systemd/linger")


def lingers(user: str) -> bool:
    """Return whether this user's manager runs from boot on, by logind's own mark."""
    return (_LINGERING / user).exists()


def linger(user: str, environ: Mapping[str, str]) -> bool:
    """Have this user's manager run from boot on; return whether that is new.

    Raises:
        ServiceManagerError: this user may not.
    """
    if lingers(user):
        return False
    _set_linger("enable-linger", user)
    mark = _mark(environ)
    private_directory(mark.parent)
    mark.touch()
    return True


def linger_no_more(user: str, environ: Mapping[str, str]) -> bool:
    """Undo what `linger` did; return whether it did anything.

    Raises:
        ServiceManagerError: this user may not.
    """
    mark = _mark(environ)
    if not mark.exists():
        return False
    _set_linger("disable-linger", user)
    mark.unlink()
    return True


def _set_linger(verb: str, user: str) -> None:
    hint = f"root may: `sudo loginctl {verb} {user}`"
    ask("loginctl", "--no-ask-password", verb, user, hint=hint)


def _mark(environ: Mapping[str, str]) -> Path:
    return state_folder(environ) / "lingers-for-us"
