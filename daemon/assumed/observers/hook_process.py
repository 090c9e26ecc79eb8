"""One run of a hook, and its output line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from assumed.errors import HookFailedError
from assumed.subprocesses import ProcessGroup

_MAX_LINE_BYTES = 1 << 16
_HINT = "run the command by hand, as the user of the daemon and with its PATH"


class HookProcess:
    """A running hook with everything that it has started.

    Raises:
        HookFailedError: it could not be started.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        try:
            self._group = ProcessGroup(command, with_stderr=True, environ=environ)
        except OSError as error:
            raise HookFailedError(f"could not be started: {error.strerror}", hint=_HINT) from None

    def lines(self, timeout_seconds: float) -> Iterator[str]:
        """Yield each line that it prints, until everything that shares its output has ended.

        A line of over 64 KiB loses its middle; empty lines are left out.

        Raises:
            HookFailedError: it failed, or did not finish in time and was killed.
        """
        rest = b""
        for data in self._group.read(timeout_seconds):
            *whole, rest = (rest + data).split(b"\n")
            yield from _texts(whole)
            rest = rest[:_MAX_LINE_BYTES]
        yield from _texts([rest])
        if self._group.problem is not None:
            status = self._group.status
            raise HookFailedError(
                self._group.problem, hint=_HINT, hook_status=status if (status or 0) > 0 else None
            )

    def stop(self) -> None:
        """Kill it and everything that it has started; from any thread."""
        self._group.stop()


def _texts(lines: Sequence[bytes]) -> Iterator[str]:
    for line in lines:
        if text := line.decode(errors="replace").strip():
            yield text
