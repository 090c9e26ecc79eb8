"""The file that an MFA session survives a restart in: mode 0600, in a directory of mode 0700."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from assumed.logs.events import event
from assumed.models import MfaSession, TemporaryCredentials

_MOST_BYTES = 1 << 16


class MfaCacheFile:
    """The file of one session. What can't be kept is asked for again after a restart."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, directory: Path, source: MfaSession) -> MfaCacheFile:
        """Return the file of the session of this profile and device."""
        name = hashlib.sha256(f"{source.profile.name}\n{source.serial}".encode()).hexdigest()
        return cls(directory / f"{name[:32]}.json")

    def read(self, source: MfaSession) -> TemporaryCredentials | None:
        """Return what is in the file; None where that is nothing that we wrote."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self.path, flags)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            is_ours = found.st_uid == os.geteuid() and not found.st_mode & 0o077
            if not stat.S_ISREG(found.st_mode) or not is_ours:
                return None
            data = os.pread(descriptor, _MOST_BYTES, 0)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        try:
            shape = json.loads(data)
            if (shape.pop("profile"), shape.pop("serial")) != (source.profile.name, source.serial):
                return None
            expiration = datetime.fromisoformat(shape.pop("expiration"))
            credentials = TemporaryCredentials(**shape, expiration=expiration)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return credentials if expiration.tzinfo is not None else None

    def write(self, source: MfaSession, credentials: TemporaryCredentials) -> None:
        """Keep a session; where that fails it lasts as long as this process."""
        shape = {
            "profile": source.profile.name,
            "serial": source.serial,
            **asdict(credentials),
            "expiration": credentials.expiration.isoformat(),
        }
        try:
            self._replace(json.dumps(shape).encode())
        except OSError as error:
            event(
                logging.WARNING,
                "mfa_session_save_failed",
                path=self.path,
                error=error.strerror,
                hint="the session is in memory alone: a restart asks for a code again",
            )

    def _replace(self, data: bytes) -> None:
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(0, "its directory is another user's, or a link")
        directory.chmod(0o700)
        # mkstemp's files are 0600 from the first moment on.
        descriptor, name = tempfile.mkstemp(dir=directory, prefix=".")
        new = Path(name)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            new.replace(self.path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
