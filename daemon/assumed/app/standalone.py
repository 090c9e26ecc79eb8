"""What a command does by itself if no daemon is running."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from assumed.app.factory import (
    credentials_file,
    credentials_path,
    load_configuration,
    make_jobs,
    make_refresher,
    stored_credentials,
)
from assumed.app.live_check import LiveCheck, trace_calls
from assumed.aws_files.profiles import read_aws_files
from assumed.aws_files.shadowing import Finding, find_clashes
from assumed.clock import SystemClock
from assumed.credential_sources.base import SourceProfiles
from assumed.engine.events import ProfileEvent
from assumed.engine.refresh_policy import RetriedBy
from assumed.engine.refresher import Refresher, Store
from assumed.engine.scheduler import RefreshScheduler
from assumed.models import Credentials, Failure, Login, Outcome, Status, StorageMode, WriteMode
from assumed.paths import aws_config_file
from assumed.storage.null_store import NullStore
from assumed.sts.client import StsClient, StsRequest

RETRY_TIMEOUT = timedelta(seconds=60)
"""How long a command retries what STS throttles, and what cannot reach it."""


_SETTLE_SECONDS = 0.3


class RefreshProgress(Protocol):
    """Follows a refresh; called from other threads, and returns at once."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Take the outcome of a profile."""
        ...

    def on_event(self, event: ProfileEvent) -> None:
        """Take an event of a profile, such as a failure that is retried."""
        ...


class RefreshInterrupted(KeyboardInterrupt):
    """The user has interrupted a refresh; `outcomes` has the profiles that were done."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


class Standalone:
    """Refreshes, checks and reports the profiles of a configuration within one command.

    Raises:
        ConfigurationError: with every problem in the configuration.
        SourceUnavailableError: the AWS files, which have its source profiles, cannot be read.
    """

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        self._sources = SourceProfiles()
        self.configuration = load_configuration(config_path, self._sources)
        self._file = credentials_file(self.configuration, environ)

    @property
    def loses_hard_links(self) -> bool:
        """Whether the credentials file has other names that a refresh does not update."""
        is_replaced = self.configuration.write is not WriteMode.IN_PLACE
        return is_replaced and self._file.has_hard_links()

    @property
    def enabled(self) -> tuple[str, ...]:
        """The names of the profiles that are not disabled."""
        profiles = self.configuration.profiles
        return tuple(name for name, definition in profiles.items() if definition.enabled)

    def status(self, profiles: Sequence[str]) -> Status:
        """Return the status of profiles, as the credentials file shows it.

        Raises:
            UsageError: a profile that is not in the configuration.
            CredentialsFileError: the file cannot be read.
        """
        clock = SystemClock()
        scheduler = RefreshScheduler(
            clock=clock,
            refresher=make_refresher(clock, self._sources, self._file),
            jobs=make_jobs(),
            jitter=lambda: 0,
            retried_by=RetriedBy.USER,
        )
        scheduler.update_definitions(self.configuration.profiles, stored_credentials(self._file))
        return Status(daemon=None, profiles=scheduler.statuses(profiles))

    def log_in(self, profile: str, code: str) -> Login:
        """Start the MFA session that a profile needs, for the next refresh to use.

        Raises:
            AssumedError: as `RefreshScheduler.log_in`.
        """
        with self._scheduler(NullStore(), {}) as (scheduler, _):
            return scheduler.log_in(profile, code)

    def refresh(
        self,
        profiles: Sequence[str],
        *,
        force: bool,
        min_left: timedelta | None = None,
        timeout: timedelta = RETRY_TIMEOUT,
        progress: RefreshProgress | None = None,
    ) -> tuple[Outcome, ...]:
        """Refresh profiles; return their outcomes.

        What STS throttles, and what cannot reach it, is retried until the time is up.

        Args:
            profiles: the names; if empty, all profiles that are stored in the file.
            force: also refresh sessions that are not due.
            min_left: refresh the sessions with less remaining, and no others.
            timeout: how long to wait.
            progress: notified of outcomes and of failures.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
            CredentialsFileError: the file cannot be read.
            RefreshInterrupted: Ctrl-C; the sessions that have arrived are written.
        """
        definitions = self.configuration.profiles
        chosen = list(dict.fromkeys(profiles)) or [
            name for name in self.enabled if definitions[name].store is StorageMode.FILE
        ]
        in_memory = {
            name
            for name in chosen
            if name in definitions and definitions[name].store is StorageMode.MEMORY
        }
        in_file = [name for name in chosen if name not in in_memory]
        outcomes: dict[str, Outcome] = {name: _daemon_needed(name) for name in in_memory}
        if in_file:
            self._file.recover()
            with self._scheduler(self._file, stored_credentials(self._file)) as (scheduler, _):
                pending = scheduler.refresh(in_file, force=force, min_left=min_left, persists=True)
                try:
                    refreshed = _wait_for_outcomes(scheduler, pending, timeout, progress)
                except KeyboardInterrupt:
                    self._file.close()
                    # The scheduler learns of the last writes on its own thread.
                    wait(pending.values(), _SETTLE_SECONDS)
                    done = [future.result() for future in pending.values() if future.done()]
                    raise RefreshInterrupted(done) from None
                outcomes |= {outcome.profile: outcome for outcome in refreshed}
        return tuple(outcomes[name] for name in chosen)

    def credentials(
        self, profile: str, *, min_left: timedelta
    ) -> tuple[Credentials, Failure | None]:
        """Return a profile's credentials, refreshed first if less than `min_left` remains.

        Returns:
            The credentials, and if the refresh failed and these are the previous ones, why.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
            CredentialsFileError: the file cannot be read.
            RefreshFailedError: there are no credentials that are valid for another minute.
        """
        self._file.recover()
        with self._scheduler(self._file, stored_credentials(self._file)) as (scheduler, _):
            credentials = scheduler.credentials(profile, min_left=min_left).result()
            return credentials, scheduler.statuses([profile])[0].last_error

    def check_live(
        self,
        *,
        timeout: timedelta = RETRY_TIMEOUT,
        progress: RefreshProgress | None = None,
    ) -> tuple[LiveCheck, ...]:
        """Assume each role, in the order of the configuration, and write nothing.

        Args:
            timeout: how long to wait; until then, failures are retried as by `refresh`.
            progress: as for `refresh`.
        """
        definitions = self.configuration.profiles
        requests: list[StsRequest] = []
        sts = StsClient(
            SystemClock(),
            connections=len(definitions),
            on_request=requests.append,
            reports_identity=True,
        )
        with self._scheduler(NullStore(), {}, sts=sts) as (scheduler, refresher):
            pending = scheduler.refresh((), force=True, persists=True)
            outcomes = _wait_for_outcomes(scheduler, pending, timeout, progress)
            return tuple(
                LiveCheck(
                    definition=definitions[outcome.profile],
                    outcome=outcome,
                    session=refresher.sessions.get(outcome.profile) if outcome.ok else None,
                    trace=trace_calls(definitions[outcome.profile], requests),
                )
                for outcome in outcomes
            )

    def clashes(self, environ: Mapping[str, str]) -> tuple[Finding, ...]:
        """Return why AWS tools would not use the refreshed credentials.

        Args:
            environ: the environment of the shell, which also says where the AWS config file is.

        Raises:
            SourceUnavailableError: one of the AWS files cannot be read.
            CredentialsFileMalformedError: one of the AWS files has a syntax error.
        """
        path = credentials_path(self.configuration, environ)
        files = read_aws_files(Path(aws_config_file(environ)), path)
        return find_clashes(files, self.configuration, environ)

    @contextmanager
    def _scheduler(
        self,
        store: Store,
        stored: Mapping[str, Credentials],
        *,
        sts: StsClient | None = None,
    ) -> Iterator[tuple[RefreshScheduler, Refresher]]:
        clock = SystemClock()
        refresher = make_refresher(clock, self._sources, store, sts=sts)
        jobs = make_jobs()
        scheduler = RefreshScheduler(
            clock=clock,
            refresher=refresher,
            jobs=jobs,
            jitter=random.random,
            retried_by=RetriedBy.USER,
        )
        scheduler.update_definitions(self.configuration.profiles, stored)
        jobs.start()
        try:
            yield scheduler, refresher
        finally:
            scheduler.stop()
            jobs.shutdown(wait=False)


def _wait_for_outcomes(
    scheduler: RefreshScheduler,
    pending: Mapping[str, Future[Outcome]],
    timeout: timedelta,
    progress: RefreshProgress | None,
) -> tuple[Outcome, ...]:
    """Return the outcomes; those that are not known in time are failures."""
    if progress is not None:
        scheduler.subscribe(progress.on_event)
        for future in pending.values():
            future.add_done_callback(lambda done: progress.on_outcome(done.result()))
    wait(pending.values(), timeout.total_seconds())
    return tuple(
        future.result() if future.done() else _unfinished(scheduler, profile)
        for profile, future in pending.items()
    )


def _unfinished(scheduler: RefreshScheduler, profile: str) -> Outcome:
    """Return the outcome of a profile when the time is up: its last failure, if there is one."""
    status = scheduler.statuses([profile])[0]
    if status.last_error is not None:
        return Outcome(profile=profile, failure=status.last_error)
    return _failed(
        profile,
        code="Timeout",
        message="the refresh has not finished in time",
        hint="allow it more time with `--timeout`",
    )


def _daemon_needed(profile: str) -> Outcome:
    return _failed(
        profile,
        code="DaemonNeeded",
        message="it is kept in memory only (`store: memory`), and no daemon is running",
        hint="run `assumed service install`, or `assumed run` in a terminal",
    )


def _failed(profile: str, *, code: str, message: str, hint: str) -> Outcome:
    failure = Failure(code=code, message=message, hint=hint, at=SystemClock().now())
    return Outcome(profile=profile, failure=failure)
