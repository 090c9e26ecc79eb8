"""The command line that starts this installation of assumed."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import assumed


def this_program(invoked: str) -> list[str]:
    """Return the words that start this installation; the first one is an absolute path.

    A link, such as pipx makes in ~/.local/bin, is kept: it leads to the next version too.

    Args:
        invoked: `sys.argv[0]`.
    """
    program = Path(invoked)
    if program.name == "__main__.py":
        return [sys.executable, "-m", "assumed"]
    return [str(program.parent.resolve() / program.name)]


def installation() -> Iterator[Path]:
    """Yield the files and directories from which Python runs this installation."""
    yield from map(Path, (sys.executable, *assumed.__path__))
    if sys.prefix != sys.base_prefix:
        yield Path(sys.prefix)
    yield from map(Path, (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")))
    # The first one is the directory of the program, or with `-m` the current one.
    yield from map(Path, sys.path[1:])
