"""What a command does by itself if no daemon is running."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from assumed.app.check.inspection import Inspection
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
from assumed.clock import SystemClock
from assumed.config.key_locations import KeyLocations
from assumed.credential_sources.base import SourceProfiles
from assumed.engine.events import ProfileEvent
from assumed.engine.refresh_policy import RetriedBy
from assumed.engine.refresher import Refresher, Store
from assumed.engine.scheduler import RefreshScheduler, require_enabled
from assumed.errors import ProfileAmbiguousError, RefreshFailedError
from assumed.models import (
    Credentials,
    Failure,
    Login,
    ManagedProfile,
    MfaCode,
    Outcome,
    ProfileDefinition,
    Status,
    StorageMode,
    WriteMode,
)
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
        self.clock_skew = timedelta(0)
        """How far this machine's clock is ahead of STS's, by the requests that were made."""

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

    def require(self, profiles: Sequence[str]) -> None:
        """Require that profiles are defined and enabled.

        Raises:
            UsageError: one is not.
        """
        require_enabled(self.configuration.profiles, profiles)

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
        """Start the MFA session that a profile needs, or its role session with the code itself.

        Raises:
            AssumedError: as `RefreshScheduler.log_in`.
        """
        definition = self.configuration.profiles.get(profile)
        is_in_memory = definition is not None and definition.store is StorageMode.MEMORY
        if is_in_memory and self.needs_code_for_each_session(profile):
            # The session would end with this command.
            raise _daemon_needed_error()
        self._file.recover()
        with self._scheduler(self._file, stored_credentials(self._file)) as (scheduler, _):
            return scheduler.log_in(profile, code)

    def needs_code_for_each_session(self, profile: str) -> bool:
        """Whether an MFA code goes with a profile's AssumeRole call (`mfa_session: none`)."""
        definition = self.configuration.profiles.get(profile)
        return definition is not None and isinstance(definition.source, MfaCode)

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
        self._remove_sessions_in_memory()
        if in_file:
            refreshed = self._refresh(
                in_file, force=force, min_left=min_left, timeout=timeout, progress=progress
            )
            outcomes |= {outcome.profile: outcome for outcome in refreshed}
        return tuple(outcomes[name] for name in chosen)

    def _refresh(
        self,
        profiles: Sequence[str],
        *,
        force: bool,
        min_left: timedelta | None,
        timeout: timedelta,
        progress: RefreshProgress | None,
    ) -> tuple[Outcome, ...]:
        """Refresh profiles that are stored in the file; see `refresh`."""
        definitions = self.configuration.profiles
        self._file.recover()
        with self._scheduler(self._file, stored_credentials(self._file)) as (scheduler, refresher):
            if not force:
                refresher.verify_sessions(
                    [definitions[name] for name in profiles if name in definitions]
                )
            pending = scheduler.refresh(profiles, force=force, min_left=min_left, persists=True)
            try:
                return _wait_for_outcomes(scheduler, pending, timeout, progress)
            except KeyboardInterrupt:
                self._file.close()
                # The scheduler learns of the last writes on its own thread.
                wait(pending.values(), _SETTLE_SECONDS)
                done = [future.result() for future in pending.values() if future.done()]
                raise RefreshInterrupted(done) from None
            finally:
                self.clock_skew = _greatest(refresher.clock_skews)

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
        profiles: Sequence[str] = (),
        *,
        timeout: timedelta = RETRY_TIMEOUT,
        progress: RefreshProgress | None = None,
    ) -> tuple[LiveCheck, ...]:
        """Assume each role, in the order of the configuration, and write nothing.

        Args:
            profiles: names of enabled profiles; none for all. A profile that one of them is
                chained to is assumed first, without a result of its own. Those that would use
                up an MFA code are left out.
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
            chosen = [
                name for name in profiles or self.enabled if not _takes_code(definitions, name)
            ]
            pending = scheduler.refresh(chosen, force=True, persists=True) if chosen else {}
            outcomes = _wait_for_outcomes(scheduler, pending, timeout, progress)
            self.clock_skew = _greatest(refresher.clock_skews)
            return tuple(
                LiveCheck(
                    definition=definitions[outcome.profile],
                    outcome=outcome,
                    session=refresher.sessions.get(outcome.profile) if outcome.ok else None,
                    trace=trace_calls(definitions[outcome.profile], requests),
                )
                for outcome in outcomes
            )

    def _remove_sessions_in_memory(self) -> None:
        """Remove what the file holds of profiles that are kept in memory only."""
        definitions = self.configuration.profiles
        names = [name for name in self.enabled if definitions[name].store is StorageMode.MEMORY]
        # An ambiguous profile is not managed; `check` reports it.
        with suppress(ProfileAmbiguousError):
            if names:
                self._file.remove(names)

    def inspect(self, environ: Mapping[str, str]) -> Inspection:
        """Read everything that `check` looks at; sends no request.

        Args:
            environ: the environment of the shell, which also says where the AWS config file is.

        Raises:
            SourceUnavailableError: one of the AWS files cannot be read.
            CredentialsFileMalformedError: one of the AWS files has a syntax error.
        """
        clock = SystemClock()
        path = credentials_path(self.configuration, environ)
        refresher = make_refresher(clock, self._sources, NullStore())
        return Inspection(
            configuration=self.configuration,
            keys=KeyLocations.read(self.configuration.path),
            files=read_aws_files(Path(aws_config_file(environ)), path),
            credentials_file=path,
            sources=self._sources,
            logins=refresher.logins,
            environ=environ,
            now=clock.now(),
        )

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


def _greatest(skews: Mapping[str, timedelta]) -> timedelta:
    return max(skews.values(), key=abs, default=timedelta(0))


def _takes_code(definitions: Mapping[str, ProfileDefinition], profile: str) -> bool:
    """Whether a new session of a profile, or of its parent, needs a code from the user."""
    source = definitions[profile].source
    while isinstance(source, ManagedProfile):
        source = definitions[source.name].source
    return isinstance(source, MfaCode) and not source.process


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


def _daemon_needed_error() -> RefreshFailedError:
    return RefreshFailedError(
        "it is kept in memory only (`store: memory`), and no daemon is running",
        hint="run `assumed service install`, or `assumed run` in a terminal",
        code="DaemonNeeded",
    )


def _daemon_needed(profile: str) -> Outcome:
    error = _daemon_needed_error()
    return _failed(profile, code=error.code, message=error.message, hint=error.hint)


def _failed(profile: str, *, code: str, message: str, hint: str) -> Outcome:
    failure = Failure(code=code, message=message, hint=hint, at=SystemClock().now())
    return Outcome(profile=profile, failure=failure)
