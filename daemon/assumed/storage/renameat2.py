"""Renames that are atomic about the target: exchange two names, or create a new one.

Source: renameat2(2); glibc has it since 2.28. Python does not expose it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_UNSUPPORTED = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP))


class ExchangeUnsupportedError(Exception):
    """This kernel or file system cannot exchange two names."""


def exchange(one: Path, other: Path) -> None:
    """Exchange two names of one directory in a single step.

    Raises:
        ExchangeUnsupportedError: the kernel or the file system does not support it.
        OSError: a system call fails.
    """
    _renameat2(one, other, _RENAME_EXCHANGE)


def rename_noreplace(source: Path, target: Path) -> None:
    """Rename `source` to `target`, which must not exist.

    Raises:
        FileExistsError: `target` exists.
        OSError: a system call fails.
    """
    try:
        _renameat2(source, target, _RENAME_NOREPLACE)
    except ExchangeUnsupportedError:
        os.link(source, target)
        source.unlink()


def _renameat2(source: Path, target: Path, flags: int) -> None:
    function = _libc_renameat2()
    if function is None:
        raise ExchangeUnsupportedError
    result = function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags)
    if result == 0:
        return
    reason = ctypes.get_errno()
    if reason in _UNSUPPORTED:
        raise ExchangeUnsupportedError
    raise OSError(reason, os.strerror(reason), str(target))


@cache
def _libc_renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    return function
