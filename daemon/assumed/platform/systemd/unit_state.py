"""What systemd knows about a unit, and what an installation did to its file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assumed.platform.systemd.systemctl import Systemctl

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "FragmentPath",
    "ActiveEnterTimestamp", "StateChangeTimestamp", "MainPID", "NRestarts",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """The state of a unit in the words of systemctl(1).

    Args:
        load: `not-found` if there is no unit file.
        active: `active`, `inactive`, `failed`, …
        sub: `running`, `dead`, `auto-restart`, …
        result: `success`, or why the last run ended.
        enabled: `enabled`, `disabled`, …
        file: the unit file; empty if there is none.
        since: when `active` changed; empty if it never did.
        pid: of the main process; 0 if none runs.
        restarts: after failures, since the last start by a user or at boot.
    """

    load: str
    active: str
    sub: str
    result: str
    enabled: str
    file: str
    since: str
    pid: int
    restarts: int

    @classmethod
    def of(cls, manager: Systemctl, unit: str) -> UnitState:
        """Ask a service manager.

        Raises:
            ServiceManagerError: systemd does not respond.
        """
        found = manager.properties(unit, *_PROPERTIES)
        return cls(
            load=found["LoadState"],
            active=found["ActiveState"],
            sub=found["SubState"],
            result=found["Result"],
            enabled=found["UnitFileState"],
            file=found["FragmentPath"],
            since=found["ActiveEnterTimestamp" if _is_running(found) else "StateChangeTimestamp"],
            pid=int(found["MainPID"] or 0),
            restarts=int(found["NRestarts"] or 0),
        )

    @property
    def is_installed(self) -> bool:
        """Whether there is a unit file."""
        return self.load != "not-found"


@dataclass(frozen=True, slots=True)
class UnitChange:
    """What an installation did to a unit file.

    Args:
        file: the unit file.
        state: `written`, `rewritten`, `unchanged` or `installed by a package`.
        settings: the lines that a rewrite added (`+ Setting=`) and removed (`- Setting=`).
    """

    file: Path
    state: str
    settings: tuple[str, ...] = ()


def changed_settings(before: str, after: str) -> Iterator[str]:
    """Yield the lines with settings that differ between two unit files, as `+ …` and `- …`."""
    for line in difflib.ndiff(_settings(before), _settings(after)):
        if line[0] in "+-":
            yield line


def _settings(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and line[0] not in "#;["]


def _is_running(found: dict[str, str]) -> bool:
    return found["ActiveState"] in {"active", "reloading"}
