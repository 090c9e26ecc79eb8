"""Tokens of an identity provider, in files that somebody else keeps fresh: EKS, GitLab, GitHub."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

from botocore.session import Session as BotocoreSession

from assumed.errors import SourceMissingError
from assumed.models import WebIdentityToken

# Source: WebIdentityToken in the reference of AssumeRoleWithWebIdentity.
_LEAST_CHARACTERS, _MOST_CHARACTERS = 4, 20_000


class WebIdentitySource:
    """A file with a token, read anew each time.

    Args:
        path: of the file, absolute.
        botocore_session: a botocore session for region, endpoint and CA settings.
    """

    def __init__(self, path: Path, botocore_session: BotocoreSession) -> None:
        self.path = path
        self.botocore_session = botocore_session

    def credentials(self) -> WebIdentityToken:
        """Return the token that the file holds now.

        Raises:
            SourceMissingError: it holds none.
        """
        try:
            text = _read(self.path)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise self._missing(f"it can't be read: {why}") from None
        token = text.strip()
        if not token:
            raise self._missing("the file is empty")
        is_word = token.isprintable() and " " not in token
        if not is_word or not _LEAST_CHARACTERS <= len(token) <= _MOST_CHARACTERS:
            raise self._missing("what the file holds is no token: one word, 20000 characters long")
        return WebIdentityToken(token)

    def temporary(self, *, other_than: str | None) -> NoReturn:
        """Refuse: a token is for a role, and the configuration has seen to it that there is one."""
        raise self._missing(f"it is good for a role alone, not for {other_than or 'credentials'}")

    def forget(self) -> None:
        """There is nothing to forget."""

    def _missing(self, why: str) -> SourceMissingError:
        return SourceMissingError(
            f"web identity token {self.path}: {why}",
            hint="have the identity provider write a token there: the projected volume of a pod, "
            "`id_tokens` of a GitLab job, the OIDC token of a GitHub job; it is read at once",
        )


def _read(path: Path) -> str:
    # A pipe would have the refresh wait for somebody to write.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no file")
        return os.read(descriptor, 2 * _MOST_CHARACTERS).decode("ascii")
    finally:
        os.close(descriptor)
