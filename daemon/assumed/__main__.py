"""The entry point of the command `assumed`, and of `python -m assumed`."""

import sys


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["export-credentials"], ["status"]):
        from assumed.delivery.quick import main as quick  # noqa: PLC0415 - what it spares is click

        status = quick(arguments)
        if status is not None:
            return status
    from assumed.cli import main as command_line  # noqa: PLC0415 - click is paid for when used

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
