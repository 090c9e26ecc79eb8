"""The text of an installed unit: this version's, with the path of this installation.

The units themselves are files, in `systemd/` of the source tree and in `units/` of the package.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from assumed.errors import UsageError
from assumed.logs import escape_unprintable

USER_UNIT = "assumed.service"
SYSTEM_UNIT = "assumed@.service"

_MARK = "# Written by `assumed service install`. sha256 of what follows: "
_ADVICE = "# Not to be edited: `systemctl {edit} {unit}` makes a file of yours beside it.\n"
_PLAIN = re.compile(r"[\w/.,:=+@-]+", re.ASCII)
_FORBIDDEN = frozenset("\"'\\")


def template(name: str) -> str:
    """Return the text of a unit as it comes with this version."""
    here = Path(__file__)
    packaged = here.parent / "units" / name
    in_the_tree = here.parents[4] / "systemd" / name
    return (packaged if packaged.exists() else in_the_tree).read_text(encoding="utf-8")


def unit_text(name: str, command: Sequence[str]) -> str:
    """Return a unit that starts this command, with a mark that shows later edits.

    Args:
        name: `USER_UNIT` or `SYSTEM_UNIT`.
        command: the absolute path of a program, and its arguments.

    Raises:
        UsageError: as `exec_line`.
    """
    _, begin, settings = template(name).partition("[Unit]")
    line = f"ExecStart={exec_line(command)}"
    text = re.sub(r"^ExecStart=.*$", lambda _: line, begin + settings, flags=re.MULTILINE)
    # It says where others would put the program.
    text = re.sub(r"^# Where .*\n(?=ExecStart=)", "", text, flags=re.MULTILINE)
    edit = "edit" if name == SYSTEM_UNIT else "--user edit"
    text = _ADVICE.format(edit=edit, unit=name.removesuffix(".service")) + "\n" + text
    return f"{_MARK}{_digest(text)}\n{text}"


def is_ours(text: str) -> bool:
    """Return whether this is what `unit_text` made, of any version, and nobody has edited."""
    first, _, rest = text.partition("\n")
    return first == _MARK + _digest(rest)


def exec_line(command: Sequence[str]) -> str:
    """Return a command as `ExecStart=` takes it.

    Raises:
        UsageError: a path that no unit can hold.

    Source: systemd.service(5), "Command lines": a `$` stands for a variable but in the program's
    own path; systemd.unit(5), "Specifiers": `%`.
    """
    for word in command:
        if not word.isprintable():
            raise UsageError(
                f"{escape_unprintable(word)} can't stand in a unit",
                hint="use a path in UTF-8 without line ends and control characters",
            )
    # systemd takes no program with these in its path, quoted or not.
    if not _FORBIDDEN.isdisjoint(command[0]):
        command = ["/usr/bin/env", *command]
    program, *arguments = command
    return " ".join([_quoted(program), *(_quoted(word.replace("$", "$$")) for word in arguments)])


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
