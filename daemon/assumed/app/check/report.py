"""The verdict of `assumed check`: which profiles work, and which need their user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from assumed.app.check.definitions import find_definition_problems
from assumed.app.check.inspection import Inspection
from assumed.app.check.local_files import find_file_problems
from assumed.app.check.sources import find_login_problems, find_source_problems
from assumed.app.live_check import LiveCheck
from assumed.aws_files.shadowing import Finding, find_clashes
from assumed.models import Configuration
from assumed.text import describe_clock_skew

_ZERO = timedelta(0)


def find_problems(view: Inspection) -> tuple[Finding, ...]:
    """Return every finding: what is wrong first, then the notes."""
    found = [
        *find_file_problems(view),
        *find_source_problems(view),
        *find_login_problems(view),
        *find_definition_problems(view),
        *find_clashes(view.files, view.configuration, view.environ),
    ]
    return tuple(sorted(found, key=lambda finding: finding.is_note))


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The result of `assumed check`.

    Args:
        path: the configuration file.
        profiles: the enabled profiles that were checked.
        findings: of these, and those that concern no profile in particular.
        live: the results of `--live`.
        clock_skew: how far this machine's clock is ahead of STS's; zero if less than a minute, or
            without `--live`.
    """

    path: Path
    profiles: tuple[str, ...]
    findings: tuple[Finding, ...]
    live: tuple[LiveCheck, ...] = ()
    clock_skew: timedelta = _ZERO
    parents: Mapping[str, str | None]

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        findings: tuple[Finding, ...],
        chosen: tuple[str, ...],
        *,
        live: tuple[LiveCheck, ...] = (),
        clock_skew: timedelta = _ZERO,
    ) -> CheckReport:
        """Return the report about chosen profiles, and what they are chained to."""
        enabled = {name: each for name, each in configuration.profiles.items() if each.enabled}
        parents = {name: each.parent for name, each in enabled.items()}
        profiles = tuple(name for name in enabled if not chosen or name in chosen)
        related = set(chain.from_iterable(_ancestry(name, parents) for name in profiles))
        return cls(
            path=configuration.path,
            profiles=profiles,
            findings=tuple(
                each
                for each in findings
                if not chosen or (each.profiles and not related.isdisjoint(each.profiles))
            ),
            live=live,
            clock_skew=clock_skew,
            parents=parents,
        )

    def works(self, profile: str) -> bool:
        """Whether nothing was found that makes a profile's refresh fail, or its result ignored."""
        return self._broken.isdisjoint(_ancestry(profile, self.parents))

    @property
    def has_problems(self) -> bool:
        """Whether the user has to act."""
        return any(not each.is_note for each in self.findings) or bool(self._broken)

    @property
    def summary(self) -> str:
        """The verdict in one line: `3 of 5 work, 2 need you`."""
        total = len(self.profiles)
        working = sum(map(self.works, self.profiles))
        verb = "works" if working == 1 else "work"
        if working == total:
            return f"{working} of {total} {verb}"
        broken = total - working
        return f"{working} of {total} {verb}, {broken} need{'s' if broken == 1 else ''} you"

    @property
    def clock_warning(self) -> str | None:
        """The line about a wrong clock of this machine; None if it is right."""
        if not self.clock_skew:
            return None
        return f"{describe_clock_skew(self.clock_skew)}: set it (`timedatectl set-ntp true`)"

    def to_json(self) -> dict[str, Any]:
        """Return the report as `check --json` prints it."""
        live = {each.definition.profile: each for each in self.live}
        return {
            "configuration": str(self.path),
            "working": sum(map(self.works, self.profiles)),
            "needing_you": sum(not self.works(name) for name in self.profiles),
            "clock_skew_seconds": round(self.clock_skew.total_seconds()),
            "profiles": [
                {
                    "profile": name,
                    "works": self.works(name),
                    "live": _live_to_json(live[name]) if name in live else None,
                }
                for name in self.profiles
            ],
            "findings": [asdict(finding) for finding in self.findings],
        }

    @property
    def _broken(self) -> set[str]:
        found = {name for each in self.findings if not each.is_note for name in each.profiles}
        failed = {each.definition.profile for each in self.live if not each.outcome.ok}
        return found | failed


def _ancestry(profile: str, parents: Mapping[str, str | None]) -> Iterator[str]:
    """Yield a profile and those that it is chained to."""
    seen: set[str] = set()
    link: str | None = profile
    while link is not None and link not in seen:
        seen.add(link)
        yield link
        link = parents.get(link)


def _live_to_json(check: LiveCheck) -> dict[str, Any]:
    failure, session = check.outcome.failure, check.session
    return {
        "ok": check.outcome.ok,
        "caller_arn": check.trace.caller_arn,
        "session_arn": None if session is None else session.credentials.principal_arn,
        "lifetime_seconds": None if session is None else round(session.lifetime.total_seconds()),
        "error": None
        if failure is None
        else {"code": failure.code, "message": failure.message, "hint": check.hint},
        "statement": check.statement,
    }
