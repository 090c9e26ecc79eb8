"""The tokens of the endpoint, one a profile, each in a file that the SDKs read at every refresh."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import quote, unquote

from assumed.fsutil import replace_file
from assumed.server.unix_socket import private_folder

_SUFFIX = ".token"
_BYTES = 32


class TokenStore:
    """A folder of mode 0700 with a token file of mode 0600 for each profile that was asked for.

    The files that an earlier process of this user left get new tokens. The old ones may be known:
    while nobody of ours listened at the port, whoever did was sent them by the SDKs.

    Raises:
        DaemonUnreachableError: the folder is a link, or another user's.
        OSError: it can't be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens: dict[str, bytes] = {}
        private_folder(folder)
        for path in folder.glob(f"*{_SUFFIX}"):
            self._make(unquote(path.name.removesuffix(_SUFFIX)), path)

    def path(self, profile: str) -> Path:
        """Return the token file of a profile, made where it is missing.

        Raises:
            OSError: it can't be made.
        """
        path = self._folder / f"{quote(profile, safe='')}{_SUFFIX}"
        if profile not in self._tokens or not path.exists():
            self._make(profile, path)
        return path

    def get(self, profile: str) -> bytes | None:
        """Return the token of a profile; None where nobody has asked for it yet."""
        return self._tokens.get(profile)

    def _make(self, profile: str, path: Path) -> None:
        token = secrets.token_urlsafe(_BYTES).encode()
        # Not in place: an SDK that reads it at this moment finds a whole token or none. And with no
        # newline, which botocore refuses (credentials.py, ContainerProvider._validate_auth_token).
        replace_file(path, token)
        self._tokens[profile] = token
