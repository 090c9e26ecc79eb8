"""The tokens of the container credentials endpoint: one for each profile, in a file of its own."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path
from urllib.parse import quote, unquote

from assumed.fsutil import PRIVATE_MODE, replace_file
from assumed.server.unix_socket import private_directory

_SUFFIX = ".token"
_BYTES = 32
_TOKEN = re.compile(rb"[\w-]{43}")


class TokenStore:
    """A directory with mode 0700 and a token file with mode 0600 for each profile in use.

    Token files of an earlier process of this user get new tokens. The old ones may be known to
    others: while no daemon listened on the port, another process could, and SDKs would have sent
    them to it.

    Args:
        directory: created if it is missing.
        keeps_tokens: of an earlier process, since no other process could listen on the port.

    Raises:
        DaemonUnreachableError: the directory is a link, or belongs to another user.
        OSError: the directory cannot be created or read.
    """

    def __init__(self, directory: Path, *, keeps_tokens: bool = False) -> None:
        self._directory = directory
        self._tokens: dict[str, bytes] = {}
        private_directory(directory)
        for path in directory.glob(f"*{_SUFFIX}"):
            profile = unquote(path.name.removesuffix(_SUFFIX))
            token = _read(path) if keeps_tokens else None
            if token is None:
                self._create(profile, path)
            else:
                self._tokens[profile] = token

    def path(self, profile: str) -> Path:
        """Return the token file of a profile; create it if it is missing.

        Raises:
            OSError: it cannot be created.
        """
        path = self._path(profile)
        if profile not in self._tokens or not path.exists():
            self._create(profile, path)
        return path

    def restore(self) -> None:
        """Write the files that are missing, with the tokens that they had.

        Raises:
            DaemonUnreachableError: the directory is a link, or belongs to another user.
            OSError: a file cannot be created.
        """
        private_directory(self._directory)
        for profile, token in self._tokens.items():
            path = self._path(profile)
            if not path.exists():
                replace_file(path, token)

    def get(self, profile: str) -> bytes | None:
        """Return the token of a profile; None if the profile is not in use."""
        return self._tokens.get(profile)

    def _path(self, profile: str) -> Path:
        return self._directory / f"{quote(profile, safe='')}{_SUFFIX}"

    def _create(self, profile: str, path: Path) -> None:
        token = secrets.token_urlsafe(_BYTES).encode()
        # Not in place: an SDK that reads it at this moment finds a whole token or none. And with no
        # newline, which botocore refuses (credentials.py, ContainerProvider._validate_auth_token).
        replace_file(path, token)
        self._tokens[profile] = token


def _read(path: Path) -> bytes | None:
    """Return the token in a file; None if it is not a file that `TokenStore` has written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        is_own = status.st_uid == os.geteuid() and status.st_nlink == 1
        if (
            not is_own
            or not stat.S_ISREG(status.st_mode)
            or stat.S_IMODE(status.st_mode) != PRIVATE_MODE
        ):
            return None
        token = file.read(_BYTES * 2)
    return token if _TOKEN.fullmatch(token) else None
