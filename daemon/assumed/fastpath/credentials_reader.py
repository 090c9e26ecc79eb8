"""What the credentials file tells of a profile at a glance, for commands that nobody may feel.

`aws_files` reads every file as botocore does. This reads only what assumed itself wrote, where
that stands plainly, and tells nothing of all else: the caller then asks who knows more. As all that
`quick` needs, this imports nothing that Python has not loaded already.
"""

import os
import time

from assumed.paths import aws_credentials_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Sections = dict[bytes, dict[str, str] | None]

_PROCESS_NAMES = {
    "AccessKeyId": "aws_access_key_id",
    "SecretAccessKey": "aws_secret_access_key",
    "SessionToken": "aws_session_token",
    "Expiration": "x_security_token_expires",
    "AccountId": "aws_account_id",
}
# inode(7); `stat` has names for them, and is not imported for two numbers.
_KIND, _PLAIN_FILE = 0o170000, 0o100000
_HEADER_OF_ALL = b"[DEFAULT]"
_PIECE_BYTES = 256 * 1024
_SHAPE_OF_A_TIME = "0000-00-00T00:00:00Z"


class CredentialsReader:
    """The credentials file; what can't be read is as good as empty."""

    def __init__(
        self,
        environ: "Mapping[str, str]",
        *,
        newer_than: int = 0,
        configuration: bytes | None = None,
    ) -> None:
        """Glance at the file where the AWS SDKs look.

        Args:
            environ: says where that is.
            newer_than: nanoseconds; a file that was written before is as good as empty.
            configuration: the configuration file, as it is; a profile of a role that it does not
                name is as good as none.
        """
        self._path = aws_credentials_file(environ)
        self._newer_than = newer_than
        self._configuration = configuration
        self._all: Sections | None = None

    def credentials(self, profile: str) -> "dict[str, str] | None":
        """Return what assumed wrote for `profile`, by the names of a credential process.

        None where there is nothing, or where it does not stand there as it was written.
        """
        header = b"[%b]" % profile.encode()
        sections = self._all
        if sections is None:
            sections = self._sections((header, _HEADER_OF_ALL))
        section = sections.get(header)
        if section is None or section.get("manager") != "assumed":
            return None
        # Every AWS SDK prefers this old name to the token that is kept fresh.
        if "aws_security_token" in section or _HEADER_OF_ALL in sections:
            return None
        found = {name: section.get(key, "") for name, key in _PROCESS_NAMES.items()}
        if not is_whole(found) or not self._is_configured(section.get("x_principal_arn", "")):
            return None
        return found

    def profiles(self) -> "Iterator[str]":
        """Return the names of the profiles that `credentials` knows.

        What it tells from then on is of the same moment, and the file is not searched for each.
        """
        self._all = self._sections(b"[")
        for header in self._all:
            name = header[1:-1]
            if name.isascii() and self.credentials(name.decode()) is not None:
                yield name.decode()

    def _is_configured(self, principal_arn: str) -> bool:
        """Whether the configuration names this role at all; it may have been another one's."""
        if self._configuration is None:
            return True
        account, _, principal = principal_arn.partition("::")[2].partition(":")
        role = principal.split("/")[1:2] or [""]
        return bool(role[0]) and all(
            part.encode() in self._configuration for part in (f"::{account}:role/", role[0])
        )

    def _sections(self, beginnings: "bytes | tuple[bytes, ...]") -> "Sections":
        """Return the sections whose header begins so; None for one that does not stand plainly."""
        found: Sections = {}
        try:
            for piece, at in self._headers(beginnings):
                line = piece[at : piece.find(b"\n", at) + 1 or None]
                name, bracket, _ = line.partition(b"]")
                header = name + bracket
                if bracket:
                    is_first = header not in found
                    found[header] = _section(piece, at + len(header)) if is_first else None
        except OSError:
            return {}
        return found

    def _headers(self, beginnings: "bytes | tuple[bytes, ...]") -> "Iterator[tuple[bytes, int]]":
        """Yield where a line begins so: a piece of the file, and the place in it.

        From bracket to bracket: to look for one rare byte is several times faster than to look for
        a name, whatever the tokens between are made of.
        """
        for piece, end in self._pieces():
            at = piece.find(b"[", 0, end)
            while at >= 0:
                if piece.startswith(beginnings, at) and piece[at - 1 : at] == b"\n":
                    yield piece, at
                at = piece.find(b"[", at + 1, end)

    def _pieces(self) -> "Iterator[tuple[bytes, int]]":
        """Yield pieces of the file, each with where the sections end that are whole in it.

        Most of what a big file costs is the first touch of the memory that holds it: pieces take
        turns in the same. No section is put together of two calls, for somebody may be writing the
        file in place.
        """
        # Opening a FIFO would wait for its other end.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0):  # noqa: PTH123
            found = os.fstat(descriptor)
            if found.st_mode & _KIND != _PLAIN_FILE or found.st_mtime_ns < self._newer_than:
                return
            # Every header stands behind a line feed, that of the first line too.
            before, begin, size = b"\n", 0, _PIECE_BYTES
            while len(data := os.pread(descriptor, size, begin)) == size:
                piece = before + data
                end = piece.rfind(b"\n[")
                if end <= 0:
                    # No section ends in it.
                    size *= 2
                    continue
                yield piece, end
                begin += end - len(before)
                before = b""
            yield before + data, len(before + data)


def _section(piece: bytes, begin: int) -> "dict[str, str] | None":
    end = piece.find(b"\n[", begin)
    body = piece[begin : end if end >= 0 else None]
    # Somebody may be in the midst of writing the file: a last line without its end.
    if end < 0 and not body.endswith(b"\n"):
        return None
    behind_header, *lines = body.split(b"\n")
    if behind_header.strip() or not body.isascii():
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


def is_whole(credentials: "Mapping[str, object]") -> bool:
    """Whether nothing is missing, and the expiration is written as assumed writes it."""
    return all(
        isinstance(value, str) and value and value.isprintable()
        for value in map(credentials.get, _PROCESS_NAMES)
    ) and _is_time(str(credentials["Expiration"]))


def seconds_left(credentials: "Mapping[str, str]") -> int:
    """Return what is left of credentials by the wall clock; zero or less where they expired."""
    year, month, day, hour, minute, second = (
        int(credentials["Expiration"][start:end])
        for start, end in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))
    )
    # Days since 1970 in the Gregorian calendar, counted from March on so that the leap day is the
    # last of its year; `datetime` and `calendar` take longer to import than all that is done here.
    year -= month <= 2  # noqa: PLR2004 - January and February
    leap_days = year // 4 - year // 100 + year // 400
    days = year * 365 + leap_days + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
    return ((days * 24 + hour) * 60 + minute) * 60 + second - int(time.time())


def configured(files: "Iterable[str]") -> tuple[int, bytes | None]:
    """Return when the configuration was changed, in nanoseconds, and the file as it is.

    0 and None where there is none.

    A credentials file that is older may be of what a profile was before: of another role. What
    counts is the change time, for nothing can set it back; of a link and of what it leads to.

    Args:
        files: where the configuration may be, in order.
    """
    for place in files:
        try:
            changed_at = max(os.stat(place).st_ctime_ns, os.lstat(place).st_ctime_ns)  # noqa: PTH116
            with open(place, "rb", buffering=0) as file:  # noqa: PTH123
                return changed_at, file.readall()
        except OSError:
            continue
    return 0, None


def _is_time(text: str) -> bool:
    return len(text) == len(_SHAPE_OF_A_TIME) and all(
        char.isdigit() if shape == "0" else char == shape
        for char, shape in zip(text, _SHAPE_OF_A_TIME, strict=True)
    )
