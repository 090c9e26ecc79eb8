"""What the rest of the program needs of an operating system, as protocols.

To add a platform, such as launchd, implement these protocols beside `systemd` and `inotify`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class Notifier(Protocol):
    """Reports the state of the daemon to the service manager that started it."""

    @property
    def is_enabled(self) -> bool:
        """Whether a service manager listens."""
        ...

    def ready(self) -> None:
        """Report that start-up or a reload is complete."""
        ...

    def reloading(self) -> None:
        """Report that a reload begins; `ready` has to follow."""
        ...

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        ...

    def status(self, text: str) -> bool:
        """Set the status line that the service manager shows; return whether it was sent."""
        ...

    def keep_alive(self) -> None:
        """Report that the daemon is not stuck."""
        ...


class FileWatcher(Protocol):
    """Calls a function when files change in some directories."""

    def start(self) -> None:
        """Start watching."""
        ...

    def watch(self, directories: Iterable[Path]) -> None:
        """Watch these directories too; one that does not exist is skipped."""
        ...

    def stop(self) -> None:
        """Stop watching; return at once."""
        ...
