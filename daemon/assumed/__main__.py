"""The entry point of the command `assumed`, and of `python -m assumed`."""

import sys


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["export-credentials"], ["status"]):
        from assumed.fastpath.main import main as quick  # noqa: PLC0415 - what it spares is click

        status = quick(arguments)
        if status is not None:
            return status
    import gc  # noqa: PLC0415 - the quick ones import nothing that they can spare

    from assumed.cli import main as command_line  # noqa: PLC0415 - click is paid for when used

    try:
        return command_line(arguments)
    finally:
        # The interpreter's end would look through all that was imported for what to free, several
        # times over: longer than everything else that a stop takes.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
