"""What a command does by itself where no daemon runs: one thing, once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assumed.clock import SystemClock
from assumed.daemon.assemble import (
    credentials_file,
    load_configuration,
    make_jobs,
    make_refresher,
    stored_credentials,
)
from assumed.model import Credentials, Outcome, Session, Status
from assumed.refresh import Refresher, Store
from assumed.scheduler import RefreshScheduler
from assumed.sources import SourceProfiles

# botocore's chain has each of these before the credentials file (credentials.py,
# create_credential_resolver), so that a profile with one of them never sees the file's keys.
_WINS_OVER_THE_FILE = ("role_arn", "web_identity_token_file", "sso_session", "sso_start_url")


@dataclass(frozen=True, slots=True)
class LiveCheck:
    """What assuming a role came to; `session` is None where it failed."""

    outcome: Outcome
    session: Session | None


class Once:
    """One configuration, for one command.

    Raises:
        ConfigurationError: with every mistake in it.
        SourceUnavailable: the AWS files, which hold its source profiles, can't be read.
    """

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        self._sources = SourceProfiles()
        self.configuration = load_configuration(config_path, self._sources)
        self._file = credentials_file(self.configuration, environ)

    def status(self, profiles: Sequence[str]) -> Status:
        """Return what the credentials file alone tells.

        Raises:
            UsageError: a profile that is not in the configuration.
            CredentialsFileError: the file can't be read.
        """
        clock = SystemClock()
        scheduler = RefreshScheduler(
            clock=clock,
            refresher=make_refresher(clock, self._sources, self._file),
            jobs=make_jobs(self.configuration),
            jitter=lambda: 0,
            repeats=False,
        )
        scheduler.apply(self.configuration.profiles, stored_credentials(self._file))
        return Status(daemon=None, profiles=scheduler.statuses(profiles))

    def refresh(self, profiles: Sequence[str], *, force: bool) -> tuple[Outcome, ...]:
        """Refresh profiles, all where none is named.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
            CredentialsFileError: the file can't be read.
        """
        self._file.recover()
        stored = stored_credentials(self._file)
        outcomes, _ = self._one_pass(self._file, stored, profiles, force=force)
        return outcomes

    def check_live(self) -> tuple[LiveCheck, ...]:
        """Assume each role, in the order of the configuration, and write nothing."""
        outcomes, refresher = self._one_pass(_Nowhere(), {}, (), force=True)
        return tuple(
            LiveCheck(outcome, refresher.session(outcome.profile) if outcome.ok else None)
            for outcome in outcomes
        )

    def shadowed(self) -> Mapping[str, str]:
        """Return the profiles whose fresh keys AWS tools would not look at, and the key why."""
        found = {
            profile: [key for key in _WINS_OVER_THE_FILE if key in self._sources.entries(profile)]
            for profile in self.configuration.profiles
        }
        return {profile: keys[0] for profile, keys in found.items() if keys}

    def _one_pass(
        self,
        store: Store,
        stored: Mapping[str, Credentials],
        profiles: Sequence[str],
        *,
        force: bool,
    ) -> tuple[tuple[Outcome, ...], Refresher]:
        clock = SystemClock()
        refresher = make_refresher(clock, self._sources, store)
        jobs = make_jobs(self.configuration)
        scheduler = RefreshScheduler(
            clock=clock, refresher=refresher, jobs=jobs, jitter=random.random, repeats=False
        )
        scheduler.apply(self.configuration.profiles, stored)
        jobs.start()
        try:
            outcomes = scheduler.refresh(profiles, force=force)
            return tuple(outcome.result() for outcome in outcomes.values()), refresher
        finally:
            scheduler.stop()
            jobs.shutdown(wait=False)


class _Nowhere:
    """A store that keeps nothing."""

    def write(self, profile: str, credentials: Credentials, *, overwrite: bool) -> None:
        """Forget the credentials."""
