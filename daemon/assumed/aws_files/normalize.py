"""What of a credentials file a refresh of ours leaves as it was."""

from __future__ import annotations

import re
from collections.abc import Collection

from assumed.aws_files.ownership import OUR_KEYS, OUR_MARK

_SECTIONS = re.compile(rb"(?m)^(?=\[)")
_MARK = re.compile(rf"(?m)^manager = {OUR_MARK}\r?$".encode())
_VALUE = re.compile(rf"(?m)^({'|'.join(OUR_KEYS)}) = .*$".encode())


def without_sessions(data: bytes, *, keep: Collection[str]) -> bytes:
    """Return the file less the values that refreshes of ours change.

    Only what stands there as we write it goes: whatever else is changed shows.

    Args:
        data: the whole file, which need not be well-formed.
        keep: names of profiles whose values stay.
    """
    kept = {f"[{name}]".encode() for name in keep}
    return b"".join(
        _VALUE.sub(rb"\1", section)
        if _MARK.search(section) and section.split(b"\n", 1)[0].strip() not in kept
        else section
        for section in _SECTIONS.split(data)
    )
