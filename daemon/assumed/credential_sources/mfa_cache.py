"""The cache file of an MFA session, which survives a restart: mode 0600 in a 0700 directory."""

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

_MAX_BYTES = 1 << 16


class MfaCacheFile:
    """The file of one MFA session. Without it a restart asks for a code again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, directory: Path, source: MfaSession) -> MfaCacheFile:
        """Return the file for this source profile and device."""
        name = hashlib.sha256(f"{source.profile.name}\n{source.serial}".encode()).hexdigest()
        return cls(directory / f"{name[:32]}.json")

    def read(self, source: MfaSession) -> TemporaryCredentials | None:
        """Return the stored session; None if the file is missing, insecure or malformed."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self.path, flags)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            is_private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
            if not stat.S_ISREG(found.st_mode) or not is_private:
                return None
            data = os.pread(descriptor, _MAX_BYTES, 0)
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
        """Store a session; log a failure, since the session still works in memory."""
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
                hint="the MFA session is only in memory: a restart asks for a code again",
            )

    def _replace(self, data: bytes) -> None:
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(0, "its directory belongs to another user, or is a link")
        directory.chmod(0o700)
        # mkstemp creates files with mode 0600.
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
