"""The command line that starts this installation of assumed."""

from __future__ import annotations

import sys
from pathlib import Path


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
