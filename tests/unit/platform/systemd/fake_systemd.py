"""A systemd that answers commands as `subprocess.run` would, and starts nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MAIN_PID = 812

_RUNNING = {"ActiveState": "active", "SubState": "running", "MainPID": str(MAIN_PID)}
_STOPPED = {"ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}
_CHANGES = {
    "enable": {"UnitFileState": "enabled"},
    "disable": {"UnitFileState": "disabled"},
    "restart": _RUNNING,
    "stop": _STOPPED,
    "reset-failed": _STOPPED,
}


class FakeSystemd:
    """Records the commands that it gets, and keeps the state of units.

    Attributes:
        commands: without `--quiet` and the like.
        directories: where it reads unit files, the first one first.
        outputs: the standard output of commands, instead of what follows from the state.
        error: what running a command raises, or the error output of every command.
    """

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.directories: list[Path] = []
        self.outputs: dict[str, str] = {}
        self.error: Exception | str | None = None
        self._units: dict[str, dict[str, str]] = {}

    def set(self, unit: str, **properties: str) -> None:
        """Change properties of a unit, such as `ActiveState="failed"`."""
        self._unit(unit).update(properties)

    def changes(self) -> list[str]:
        """Return the commands that change something."""
        return [command for command in self.commands if " show" not in command]

    def main_pid(self, unit: str) -> int:
        """Return the process ID of a unit; 0 if it does not run."""
        return int(self._unit(unit)["MainPID"])

    def run(self, command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        words = [word for word in command if word not in {"--quiet", "--no-ask-password"}]
        line = " ".join(words)
        self.commands.append(line)
        if isinstance(self.error, Exception):
            raise self.error
        if self.error is not None:
            return subprocess.CompletedProcess(command, 1, "", self.error)
        if line in self.outputs:
            return subprocess.CompletedProcess(command, 0, self.outputs[line], "")
        verb, rest = words[2], words[3:]
        if verb in {"enable", "disable", "restart"} and self._file(rest[-1]) is None:
            return subprocess.CompletedProcess(command, 1, "", f"Unit {rest[-1]} not found.\n")
        output = "\n".join(self._shown(rest)) if verb == "show" and len(rest) > 1 else ""
        if verb in _CHANGES and (verb, self._unit(rest[-1])["ActiveState"]) != ("stop", "failed"):
            self.set(rest[-1], **_CHANGES[verb])
        return subprocess.CompletedProcess(command, 0, output, "")

    def _unit(self, unit: str) -> dict[str, str]:
        initial = {**_STOPPED, "UnitFileState": "disabled", "Result": "success", "NRestarts": "0"}
        return self._units.setdefault(unit, initial)

    def _file(self, unit: str) -> Path | None:
        name = re.sub("@[^.]*", "@", unit)
        files = (directory / name for directory in self.directories)
        return next((file for file in files if file.exists()), None)

    def _shown(self, words: Sequence[str]) -> Iterator[str]:
        """Yield the output of `show --property=NAMES [--value] UNIT`."""
        unit, file = words[-1], self._file(words[-1])
        properties = dict(self._unit(unit), LoadState="loaded", FragmentPath=str(file))
        if file is None:
            properties |= {"LoadState": "not-found", "FragmentPath": "", "UnitFileState": ""}
        for name in words[0].removeprefix("--property=").split(","):
            value = properties.get(name, "")
            yield value if "--value" in words else f"{name}={value}"
