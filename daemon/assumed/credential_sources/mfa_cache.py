"""The cache file of an MFA session, which survives a restart: mode 0600 in a 0700 directory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from assumed.fsutil import ensure_private_directory, open_regular, replace_file
from assumed.logs.events import event
from assumed.models import MfaSession, TemporaryCredentials
from assumed.untrusted_text import is_credential

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
            descriptor = open_regular(self.path)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
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
        values = (
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
        )
        is_valid = expiration.tzinfo is not None and all(is_credential(value) for value in values)
        return credentials if is_valid else None

    def write(self, source: MfaSession, credentials: TemporaryCredentials) -> None:
        """Store a session; log a failure, since the session still works in memory."""
        shape = {
            "profile": source.profile.name,
            "serial": source.serial,
            **asdict(credentials),
            "expiration": credentials.expiration.isoformat(),
        }
        try:
            ensure_private_directory(self.path.parent)
            # A daemon and a command may write it at once.
            replace_file(self.path, json.dumps(shape).encode(), sync=True, unique=True)
        except OSError as error:
            event(
                logging.WARNING,
                "mfa_session_save_failed",
                path=self.path,
                error=error.strerror,
                hint="the MFA session is only in memory: a restart asks for a code again",
            )
