"""Credentials files for tests; no credentials in them were ever valid."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from botocore.configloader import raw_config_parse

from assumed.aws_files import EditResult, RemoveCredentials, SetCredentials, edit
from assumed.models import Credentials

OTHER_UID = 65534
LONG_TERM = (
    b"# mine\n[default]\naws_access_key_id = AKIALONGTERMKEYSOFKIM\n"
    b"aws_secret_access_key = the/only/copy\n"
)
SECRETS = ("the/only/copy", "new/secret+access/key", "new/token+of/session")


def credentials(number: int = 0) -> Credentials:
    """Return credentials that differ for each number, with the same length for numbers below 10."""
    return Credentials(
        access_key_id=f"ASIANEW{number:013}",
        secret_access_key=f"new/secret+access/key{number}",
        session_token=f"new/token+of/session{number}==",
        expiration=datetime(2026, 11, 24, 13, 5, tzinfo=UTC) + timedelta(seconds=number),
        principal_arn="arn:aws:sts::222222222222:assumed-role/deploy/kim@laptop",
    )


def written(number: int = 0) -> dict[str, str]:
    """Return the keys and values of a section that holds `credentials(number)`."""
    new = credentials(number)
    return {
        "aws_access_key_id": new.access_key_id,
        "aws_secret_access_key": new.secret_access_key,
        "aws_session_token": new.session_token,
        "aws_account_id": "222222222222",
        "x_security_token_expires": f"2026-11-24T13:05:{number:02}Z",
        "x_principal_arn": new.principal_arn,
        "manager": "assumed",
    }


def section(profile: str, number: int = 0) -> bytes:
    """Return the bytes of a new section that holds `credentials(number)`."""
    lines = [f"[{profile}]", *(f"{key} = {value}" for key, value in written(number).items()), ""]
    return "\n".join(lines).encode()


def set_profile(
    data: bytes, profile: str, new: Credentials, *, overwrite: bool = False, path: str
) -> bytes:
    """Return a file with credentials in one profile; raise the error of a rejected profile."""
    return _of_one(profile, edit(data, {profile: SetCredentials(new, overwrite)}, path=path))


def remove_profile(data: bytes, profile: str, *, path: str) -> bytes:
    """Return a file without the managed keys of one profile; raise the error of a rejected one."""
    return _of_one(profile, edit(data, {profile: RemoveCredentials()}, path=path))


def _of_one(profile: str, result: EditResult) -> bytes:
    if profile in result.rejected:
        raise result.rejected[profile]
    return result.data


def as_botocore_reads(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the sections as botocore reads them, with nested blocks as text."""
    raw_config_parse(str(path))
    sections: Mapping[str, Mapping[str, str]] = raw_config_parse(str(path), parse_subsections=False)
    return sections


def mode(path: Path) -> int:
    """Return the mode of the file behind all links."""
    return stat.S_IMODE(path.stat().st_mode)


def names_in(directory: Path, *, besides: Iterable[str] = ()) -> set[str]:
    """Return the names in a directory, without the lock file, which stays for the next write."""
    return {entry.name for entry in directory.iterdir()} - {
        ".credentials.assumed-lock",
        *besides,
    }


@contextmanager
def as_other_user() -> Iterator[None]:
    """Run the block as an unprivileged user if the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(OTHER_UID)
    os.seteuid(OTHER_UID)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
