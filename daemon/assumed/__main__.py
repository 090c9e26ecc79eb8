"""The entry point of the command `assumed`, and of `python -m assumed`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; return the exit status."""
    from assumed.cli import main as command_line  # noqa: PLC0415 - click is paid for when used

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
