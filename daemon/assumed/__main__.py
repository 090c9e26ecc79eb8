"""The entry point of the command `assumed`, and of `python -m assumed`."""

import sys


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["export-credentials"], ["status"]):
        from assumed.fastpath.main import main as run_fast_path  # noqa: PLC0415 - others need none

        status = run_fast_path(arguments)
        if status is not None:
            return status
    import gc  # noqa: PLC0415 - the fast path imports nothing that it does not need

    from assumed.cli.main import main as run_command_line  # noqa: PLC0415 - the fast path has no click

    try:
        return run_command_line(arguments)
    finally:
        # The interpreter would collect garbage several times at its end, which takes longer than
        # everything else in a stop.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
