"""A systemd that answers commands as `subprocess.run` would, and starts nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any


class FakeSystemd:
    """Records the commands that it gets.

    Attributes:
        commands: without `--quiet` and the like.
        outputs: the standard output of commands that have one.
        error: what running a command raises, or the error output of every command.
    """

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.outputs: dict[str, str] = {}
        self.error: Exception | str | None = None

    def run(self, command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        words = [word for word in command if word not in {"--quiet", "--no-ask-password"}]
        line = " ".join(words)
        self.commands.append(line)
        if isinstance(self.error, Exception):
            raise self.error
        status = 0 if self.error is None else 1
        return subprocess.CompletedProcess(
            command, status, self.outputs.get(line, ""), self.error or ""
        )
