"""Whose sessions the full command has found right for the configuration as it is now.

A credentials file that is older than the configuration, or that may belong to another one, says
nothing about the profiles of this one. `cli` reads the configuration and then records which session
a profile has, so that the next `export-credentials` need not read it again. A change of the
configuration makes the record void.
"""

import os

from assumed.paths import state_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME = "export-checked"
_MAX_RECORDS = 500
_SEPARATOR = "\t"


def checked_principal(
    environ: "Mapping[str, str]", files: "Sequence[str]", changed_at: int, profile: str
) -> str | None:
    """Return the ARN of the session that a profile has; None if that was not recorded.

    Args:
        environ: names the state directory.
        files: where the configuration may be, in order.
        changed_at: when it was changed, in nanoseconds.
        profile: a name.
    """
    start = _start(files, changed_at, profile)
    for line in _lines(environ):
        if line.startswith(start):
            return line[len(start) :]
    return None


def with_record(
    environ: "Mapping[str, str]",
    files: "Sequence[str]",
    changed_at: int,
    profile: str,
    principal_arn: str,
) -> str | None:
    """Return the text of the records with one more; None if there is nothing to record."""
    start = _start(files, changed_at, profile)
    record = start + principal_arn
    lines = _lines(environ)
    is_one_line = record.splitlines() == [record] and record.count(_SEPARATOR) == len(files) + 2
    if not principal_arn or record in lines or not is_one_line:
        return None
    kept = [line for line in lines if not line.startswith(start)]
    return "\n".join([*kept[1 - _MAX_RECORDS :], record, ""])


def records_path(environ: "Mapping[str, str]") -> str:
    """Return the path of the records, in the state directory of the user."""
    return f"{state_directory(environ)}/{_NAME}"


def _start(files: "Sequence[str]", changed_at: int, profile: str) -> str:
    # A relative path means another file in another directory.
    paths = [os.path.abspath(path) for path in files]  # noqa: PTH100 - pathlib is slow to import
    return _SEPARATOR.join([*paths, str(changed_at), profile, ""])


def _lines(environ: "Mapping[str, str]") -> list[str]:
    try:
        with open(records_path(environ), encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
            return file.read().splitlines()
    except OSError:
        return []
