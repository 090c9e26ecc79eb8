"""The part of a credentials file that a refresh does not change."""

from __future__ import annotations

import re
from collections.abc import Collection

from assumed.aws_files.ownership import MANAGED_KEYS, MANAGER

_SECTION_START = re.compile(rb"(?m)^(?=\[)")
_MANAGER = re.compile(rf"(?m)^manager = {MANAGER}\r?$".encode())
_VALUE = re.compile(rf"(?m)^({'|'.join(MANAGED_KEYS)}) = .*$".encode())


def strip_managed_values(data: bytes, *, keep: Collection[str]) -> bytes:
    """Return the file without the values that refreshes change.

    Only lines written exactly as assumed writes them are stripped, so any other change of the file
    is visible in the result.

    Args:
        data: the whole file, which need not be well-formed.
        keep: the names of profiles whose values stay.
    """
    kept = {f"[{name}]".encode() for name in keep}
    return b"".join(
        _VALUE.sub(rb"\1", section)
        if _MANAGER.search(section) and section.split(b"\n", 1)[0].strip() not in kept
        else section
        for section in _SECTION_START.split(data)
    )
