"""A minimal reader of the profiles that assumed itself wrote to the credentials file.

`aws_files` reads every file as botocore does. This module reads only profiles that are written
exactly as assumed writes them and finds nothing else, so that the caller asks the daemon or starts
the full command. It imports no part of the standard library that Python has not loaded already.
"""

import os
import time

from assumed.paths import aws_credentials_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Sections = dict[bytes, dict[str, str] | None]

FILE_KEYS = {
    "AccessKeyId": "aws_access_key_id",
    "SecretAccessKey": "aws_secret_access_key",
    "SessionToken": "aws_session_token",
    "Expiration": "x_security_token_expires",
    "AccountId": "aws_account_id",
}
"""The keys of a credential process, in its order, and those of the credentials file."""

# inode(7); the module `stat` names them, and is not imported for two numbers.
_FILE_TYPE_MASK, _REGULAR_FILE = 0o170000, 0o100000
_DEFAULT_HEADER = b"[DEFAULT]"
_CHUNK_BYTES = 256 * 1024
_TIMESTAMP_PATTERN = "0000-00-00T00:00:00Z"


class CredentialsReader:
    """The credentials file of the SDKs; an unreadable file counts as empty."""

    def __init__(
        self,
        environ: "Mapping[str, str]",
        *,
        newer_than: int = 0,
        configuration: bytes | None = None,
        principal_arn: str | None = None,
    ) -> None:
        """Remember the path; the file is read on demand.

        Args:
            environ: names the file.
            newer_than: nanoseconds; a file written before that time counts as empty.
            configuration: the text of the configuration file; profiles of roles that it does not
                name are ignored. None to accept all roles.
            principal_arn: of the only session to accept; None to go by `configuration`.
        """
        self._path = aws_credentials_file(environ)
        self._newer_than = newer_than
        self._configuration = configuration
        self._principal_arn = principal_arn
        self._snapshot: Sections | None = None

    def credentials(self, profile: str) -> "dict[str, str] | None":
        """Return the credentials that assumed wrote for `profile`, by credential process key.

        None if the profile is missing, or differs from the way assumed writes it.
        """
        header = b"[%b]" % profile.encode()
        sections = self._snapshot
        if sections is None:
            sections = self._sections((header, _DEFAULT_HEADER))
        section = sections.get(header)
        if section is None or section.get("manager") != "assumed":
            return None
        # Every AWS SDK prefers this old name to the token that assumed refreshes.
        if "aws_security_token" in section or _DEFAULT_HEADER in sections:
            return None
        found = {name: section.get(key, "") for name, key in FILE_KEYS.items()}
        if not is_complete(found) or not self._is_configured(section.get("x_principal_arn", "")):
            return None
        return found

    def profiles(self) -> "Iterator[str]":
        """Yield the names of the profiles for which `credentials` returns something.

        Later calls of `credentials` use the same snapshot of the file, which is read once.
        """
        self._snapshot = self._sections(b"[")
        for header in self._snapshot:
            name = header[1:-1]
            if name.isascii() and self.credentials(name.decode()) is not None:
                yield name.decode()

    def _is_configured(self, principal_arn: str) -> bool:
        """Whether the configuration names this role; the profile may have been another role's."""
        if self._principal_arn is not None:
            return principal_arn == self._principal_arn
        if self._configuration is None:
            return True
        # Not by `assumed.arn`, whose imports take longer than all of this command.
        account, _, principal = principal_arn.partition("::")[2].partition(":")
        role = principal.split("/")[1:2] or [""]
        return bool(role[0]) and all(
            part.encode() in self._configuration for part in (f"::{account}:role/", role[0])
        )

    def _sections(self, prefixes: "bytes | tuple[bytes, ...]") -> "Sections":
        """Return the sections whose header starts with a prefix; None for a section to ignore."""
        found: Sections = {}
        try:
            for chunk, start in self._headers(prefixes):
                line = chunk[start : chunk.find(b"\n", start) + 1 or None]
                name, bracket, _ = line.partition(b"]")
                header = name + bracket
                if bracket:
                    is_first = header not in found
                    found[header] = _parse_section(chunk, start + len(header)) if is_first else None
        except OSError:
            return {}
        return found

    def _headers(self, prefixes: "bytes | tuple[bytes, ...]") -> "Iterator[tuple[bytes, int]]":
        """Yield a chunk of the file and an offset in it for each line that starts with a prefix.

        The search goes from bracket to bracket: finding one rare byte is several times faster than
        finding a name, whatever the tokens in between consist of.
        """
        for chunk, end in self._chunks():
            start = chunk.find(b"[", 0, end)
            while start >= 0:
                if chunk.startswith(prefixes, start) and chunk[start - 1 : start] == b"\n":
                    yield chunk, start
                start = chunk.find(b"[", start + 1, end)

    def _chunks(self) -> "Iterator[tuple[bytes, int]]":
        """Yield chunks of the file, each with the offset where its last complete section ends.

        Most of the time that a big file takes is the first access to the memory that holds it, so
        chunks reuse the same memory. No section is put together from two reads, because another
        process may be writing the file in place.
        """
        # Opening a FIFO would wait for its other end.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0):  # noqa: PTH123
            status = os.fstat(descriptor)
            is_regular = status.st_mode & _FILE_TYPE_MASK == _REGULAR_FILE
            if not is_regular or status.st_mtime_ns < self._newer_than:
                return
            # Every header follows a line feed, that of the first line too.
            before, offset, size = b"\n", 0, _CHUNK_BYTES
            while len(data := os.pread(descriptor, size, offset)) == size:
                chunk = before + data
                end = chunk.rfind(b"\n[")
                if end <= 0:
                    # No section ends in this chunk.
                    size *= 2
                    continue
                yield chunk, end
                offset += end - len(before)
                before = b""
            yield before + data, len(before + data)


def _parse_section(chunk: bytes, start: int) -> "dict[str, str] | None":
    end = chunk.find(b"\n[", start)
    body = chunk[start : end if end >= 0 else None]
    # Another process may still be writing the file: its last line has no line feed.
    if end < 0 and not body.endswith(b"\n"):
        return None
    rest_of_header, *lines = body.split(b"\n")
    if rest_of_header.strip() or not body.isascii():
        return None
    section: dict[str, str] = {}
    for line in lines:
        if not line.strip() or line.startswith((b"#", b";")):
            continue
        key, equals, value = line.decode().partition("=")
        name = key.strip().lower()
        if not equals or line[:1].isspace() or ":" in name or name in section:
            return None
        section[name] = value.strip()
    return section


def is_complete(credentials: "Mapping[str, object]") -> bool:
    """Whether no key is missing, and the expiration is written as assumed writes it."""
    return all(
        isinstance(value, str) and value and value.isprintable()
        for value in map(credentials.get, FILE_KEYS)
    ) and _is_timestamp(str(credentials["Expiration"]))


def remaining_seconds(credentials: "Mapping[str, str]") -> int:
    """Return the remaining lifetime by the wall clock; zero or less for expired credentials."""
    year, month, day, hour, minute, second = (
        int(credentials["Expiration"][start:end])
        for start, end in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))
    )
    # Days since 1970 in the Gregorian calendar, counted from March so that the leap day is the
    # last of its year; importing `datetime` or `calendar` takes longer than the whole command.
    year -= month <= 2  # noqa: PLR2004 - January and February
    leap_days = year // 4 - year // 100 + year // 400
    days = year * 365 + leap_days + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
    return ((days * 24 + hour) * 60 + minute) * 60 + second - int(time.time())


def read_configuration(files: "Iterable[str]") -> tuple[int, bytes | None]:
    """Return the change time of the configuration, in nanoseconds, and its text.

    0 and None if there is no configuration.

    A credentials file that is older may hold the session of another role, which the profile had
    before. The change time counts, since no program can set it back; for a link, the later one of
    the link and its target.

    Args:
        files: where the configuration may be, in order.
    """
    for path in files:
        try:
            changed_at = max(os.stat(path).st_ctime_ns, os.lstat(path).st_ctime_ns)  # noqa: PTH116
            # Opening a FIFO would wait for its other end.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
                if os.fstat(descriptor).st_mode & _FILE_TYPE_MASK != _REGULAR_FILE:
                    continue
                return changed_at, file.readall()
        except OSError:
            continue
    return 0, None


def _is_timestamp(text: str) -> bool:
    return len(text) == len(_TIMESTAMP_PATTERN) and all(
        char.isdigit() if expected == "0" else char == expected
        for char, expected in zip(text, _TIMESTAMP_PATTERN, strict=True)
    )
