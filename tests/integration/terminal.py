"""A pseudo-terminal with a program, as a user sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.world import World, wait_until


class Terminal:
    """A terminal that runs one program."""

    def __init__(self, world: World, *command: str, kind: str, columns: int, lines: int) -> None:
        self._fd, program_side = pty.openpty()
        self.resize(columns, lines)
        self.modes_before = self.modes()
        self.text = ""
        """The output after the text that `wait_for` found last."""
        self.process = subprocess.Popen(  # noqa: S603
            ["setsid", "--ctty", *command],  # noqa: S607
            env={**world.environ, "TERM": kind, "PS1": "> "},
            cwd=world.home,
            stdin=program_side,
            stdout=program_side,
            stderr=program_side,
        )
        os.close(program_side)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def modes(self) -> list[object]:
        return termios.tcgetattr(self._fd)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def read(self) -> str:
        try:
            while select.select([self._fd], [], [], 0)[0]:
                self.text += os.read(self._fd, 1 << 16).decode()
        except OSError:
            pass  # The program and its children have exited.
        return self.text

    @property
    def screen(self) -> str:
        """The output of the last redraw, without colors."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.read().split("\x1b[H")[-1])

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.read(), f"{text!r} in {self.text!r}")
        self.text = self.text.partition(text)[2]

    def wait_for_foreground(self, name: str) -> None:
        """Wait until a program of that name has the terminal, so that Ctrl-C reaches it."""

        def is_in_foreground() -> bool:
            try:
                group = os.tcgetpgrp(self._fd)
                return Path(f"/proc/{group}/comm").read_text() == f"{name}\n"
            except OSError:
                return False

        wait_until(is_in_foreground, f"{name} in the foreground: {self.read()!r}")

    def status(self) -> int:
        return self.process.wait(timeout=60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)


@contextmanager
def terminal(
    world: World, *command: str, kind: str = "dumb", columns: int = 100, lines: int = 24
) -> Iterator[Terminal]:
    """Run a command of the world in a terminal, and clean up."""
    opened = Terminal(world, *command, kind=kind, columns=columns, lines=lines)
    try:
        yield opened
    finally:
        opened.close()
