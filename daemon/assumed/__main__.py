"""The entry point of the command `assumed`, and of `python -m assumed`."""

import os
import sys

try:
    # The C half, which Python has loaded already.
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:  # another Python than CPython
    import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# signal(7). Those that stop or continue a process, that report a bug in it, or that nothing but a
# handler notices, keep their action.
_UNTOUCHED = (
    "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "SEGV", "SYS", "CHLD", "CONT", "STOP", "TSTP",
    "TTIN", "TTOU", "URG", "WINCH",
)  # fmt: skip
_INTERRUPTED = 130


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = sys.argv[1:]
    if arguments and arguments[0].startswith("-"):
        from assumed.fastpath.arguments import put_command_first  # noqa: PLC0415 - rarely needed

        arguments = put_command_first(arguments)
    _use_utf_8()
    is_daemon = arguments[:1] == ["run"]
    if is_daemon:
        _survive_signals()
    # Until a command has something to clean up: an exception could surface anywhere in an import.
    _exit_on(signal.SIGINT, _INTERRUPTED)
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
        if is_daemon:
            # It has stopped: its exit status must not change any more.
            _ignore_signals()
        else:
            _exit_on(signal.SIGINT, _INTERRUPTED)
        # The interpreter would collect garbage several times at its end, which takes longer than
        # everything else in a stop.
        gc.freeze()


def _use_utf_8() -> None:
    """Start again in Python's UTF-8 mode if the locale has another encoding, such as the C locale.

    Names in the AWS files and in the configuration are UTF-8 in every locale; paths may be any
    bytes, which UTF-8 mode keeps.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def _survive_signals() -> None:
    """Let no signal end a daemon that is starting; SIGTERM ends it as later, with status 0.

    A handler, since a hook would inherit an ignored signal. A reload is not needed yet.
    """
    for number in _touched_signals():
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _do_nothing)
    _exit_on(signal.SIGTERM, 0)


def _ignore_signals() -> None:
    for number in _touched_signals():
        signal.signal(number, signal.SIG_IGN)


def _touched_signals() -> "set[int]":
    untouched = {getattr(signal, f"SIG{name}", 0) for name in _UNTOUCHED}
    return set(signal.valid_signals()) - untouched


def _exit_on(number: int, status: int) -> None:
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, _exit_with(status))


def _exit_with(status: int) -> "Callable[[int, object], None]":
    def exit_now(_: int, __: object) -> None:
        os._exit(status)

    return exit_now


def _do_nothing(_: int, __: object) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
