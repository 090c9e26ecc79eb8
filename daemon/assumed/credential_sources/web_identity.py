"""OIDC tokens in files that another program keeps current: EKS, GitLab, GitHub."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

from botocore.session import Session as BotocoreSession

from assumed.errors import LocalFaultError, SourceMissingError
from assumed.fsutil import NotRegularFileError, is_missing, local_fault_hint
from assumed.models import WebIdentityToken

# Source: WebIdentityToken in the API reference of AssumeRoleWithWebIdentity.
_MIN_CHARACTERS, _MAX_CHARACTERS = 4, 20_000


class WebIdentitySource:
    """A token file, read again for each call.

    Args:
        path: the absolute path of the file.
        botocore_session: a botocore session for region, endpoint and CA settings.
    """

    def __init__(self, path: Path, botocore_session: BotocoreSession) -> None:
        self.path = path
        self.botocore_session = botocore_session

    def credentials(self) -> WebIdentityToken:
        """Return the current token.

        Raises:
            SourceMissingError: there is no file, or it has no valid token.
            LocalFaultError: the file cannot be read now.
        """
        try:
            text = _read(self.path)
        except UnicodeDecodeError:
            raise self._missing("the file is not ASCII text") from None
        except OSError as error:
            problem = f"the file cannot be read: {error.strerror}"
            if is_missing(error) or isinstance(error, NotRegularFileError):
                raise self._missing(problem) from None
            raise LocalFaultError(
                f"web identity token {self.path}: {problem}", hint=local_fault_hint(error)
            ) from None
        token = text.strip()
        if not token:
            raise self._missing("the file is empty")
        is_word = token.isprintable() and " " not in token
        if not is_word or not _MIN_CHARACTERS <= len(token) <= _MAX_CHARACTERS:
            raise self._missing(
                f"the file has no valid token: one word of at most {_MAX_CHARACTERS} characters"
            )
        return WebIdentityToken(token)

    def temporary(self, *, other_than: str | None) -> NoReturn:
        """Raise `SourceMissingError`: a token only assumes roles.

        The configuration requires a `role_arn` beside a token.
        """
        raise self._missing("a token can only assume a role")

    def forget(self) -> None:
        """Do nothing: nothing is cached."""

    def _missing(self, problem: str) -> SourceMissingError:
        return SourceMissingError(
            f"web identity token {self.path}: {problem}",
            hint="have the identity provider write a token there: the projected volume of a pod, "
            "`id_tokens` of a GitLab job, the OIDC token of a GitHub job",
        )


def _read(path: Path) -> str:
    # Without O_NONBLOCK a pipe would block the refresh until another process writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularFileError(errno.EINVAL, "not a regular file")
        return os.read(descriptor, 2 * _MAX_CHARACTERS).decode("ascii")
    finally:
        os.close(descriptor)
