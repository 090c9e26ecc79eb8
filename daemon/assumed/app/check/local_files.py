"""Whether the credentials file can be written, and each profile in it be taken over.

The writer itself decides, on a copy in memory: `aws_files.edit` with credentials of no value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from assumed import aws_files
from assumed.app.check.inspection import Inspection
from assumed.aws_files.shadowing import Finding
from assumed.errors import AssumedError
from assumed.fsutil import MAX_AWS_FILE_BYTES, foreign_owner, foreign_owner_hint, read_file
from assumed.models import Credentials, StorageMode, WriteMode
from assumed.storage.permissions import reject_untrusted_path

_SAMPLE = Credentials(
    access_key_id="ASIAEXAMPLE",
    secret_access_key="example",  # noqa: S106 - never written
    session_token="example",  # noqa: S106 - never written
    expiration=datetime(2000, 1, 1, tzinfo=UTC),
    principal_arn="arn:aws:sts::000000000000:assumed-role/example/example",
)


def find_file_problems(view: Inspection) -> Iterator[Finding]:
    """Yield why the credentials file, or one profile of it, cannot be written."""
    stored = tuple(
        name for name, definition in view.enabled.items() if definition.store is StorageMode.FILE
    )
    if not stored:
        return
    if (problem := _unwritable(view)) is not None:
        text, fix = problem
        yield Finding(
            str(view.credentials_file),
            text,
            "no refresh can be stored",
            fix,
            profiles=stored,
        )
    yield from _rejected(view, stored)


def _rejected(view: Inspection, stored: tuple[str, ...]) -> Iterator[Finding]:
    """Yield the profiles that a write would leave as they are."""
    path = Path(os.path.realpath(view.credentials_file))
    try:
        data = read_file(path, max_bytes=MAX_AWS_FILE_BYTES)
    except OSError:
        # A missing file has nothing to reject; one that is not readable was reported before.
        return
    changes = {
        name: aws_files.SetCredentials(_SAMPLE, view.enabled[name].overwrite) for name in stored
    }
    result = aws_files.edit(data, changes, path=str(view.credentials_file))
    for name, error in result.rejected.items():
        where, separator, problem = error.message.partition(": ")
        is_located = bool(separator) and where.startswith(str(view.credentials_file))
        yield Finding(
            where if is_located else str(view.credentials_file),
            problem if is_located else error.message,
            f"{error.code}: the refresh of {name} fails",
            error.hint,
            profiles=(name,),
        )


def _unwritable(view: Inspection) -> tuple[str, str] | None:
    """Return why the file cannot be written, and what to do; None if it can."""
    path = view.credentials_file
    try:
        reject_untrusted_path(path)
    except AssumedError as error:
        return error.message.removeprefix(f"{path} "), error.hint
    except OSError as error:
        return f"cannot be written: {error.strerror}", f"make {path.parent} accessible"
    file = Path(os.path.realpath(path))
    is_replaced = view.configuration.write is WriteMode.REPLACE
    # A new file would have to get the owner of the old one.
    if is_replaced and (owner := foreign_owner(file)) is not None:
        return f"it belongs to {owner}", foreign_owner_hint(file) or ""
    if file.exists() and not is_replaced:
        target = file
    else:
        target = next(each for each in file.parents if each.exists())
    if not os.access(target, os.W_OK, effective_ids=True):
        kind = "file" if target == file else "directory"
        return (
            f"{target} cannot be written: {_reason(target)}",
            f"make that {kind} writable for this user, or set another file in "
            "credentials_file: path:",
        )
    return None


def _reason(path: Path) -> str:
    is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return "the file system is read-only" if is_read_only else "permission denied"
