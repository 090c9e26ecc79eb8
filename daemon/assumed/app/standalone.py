"""What a command does by itself where no daemon runs: one thing, once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

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
from assumed.engine.refresh_policy import RetriedBy
from assumed.engine.refresher import Refresher, Store, already_done
from assumed.engine.scheduler import RefreshScheduler
from assumed.models import Credentials, Failure, Login, Outcome, Status, StorageMode
from assumed.paths import aws_config_file
from assumed.sts.client import StsClient, StsRequest


class Standalone:
    """One configuration, for one command.

    Raises:
        ConfigurationError: with every mistake in it.
        SourceUnavailableError: the AWS files, which hold its source profiles, can't be read.
    """

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        self._sources = SourceProfiles()
        self.configuration = load_configuration(config_path, self._sources)
        self._file = credentials_file(self.configuration, environ)

    @property
    def enabled(self) -> tuple[str, ...]:
        """The profiles that are to be kept fresh."""
        profiles = self.configuration.profiles
        return tuple(name for name, definition in profiles.items() if definition.enabled)

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
            jobs=make_jobs(),
            jitter=lambda: 0,
            retried_by=RetriedBy.USER,
        )
        scheduler.update_definitions(self.configuration.profiles, stored_credentials(self._file))
        return Status(daemon=None, profiles=scheduler.statuses(profiles))

    def log_in(self, profile: str, code: str) -> Login:
        """Start the MFA session that a profile hangs on, for whoever refreshes it next.

        Raises:
            AssumedError: as `RefreshScheduler.log_in`.
        """
        with self._scheduler(_Nowhere(), {}) as (scheduler, _):
            return scheduler.log_in(profile, code)

    def refresh(
        self,
        profiles: Sequence[str],
        *,
        force: bool,
        min_left: timedelta | None = None,
        timeout: timedelta | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> tuple[Outcome, ...]:
        """Refresh profiles; where none is named, all but those that are kept in memory alone.

        Args:
            profiles: names.
            force: also refresh what is still fresh.
            min_left: leave alone what has at least so much left, and nothing else.
            timeout: how long to wait; None for as long as it takes.
            on_outcome: called with each outcome as it comes.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
            CredentialsFileError: the file can't be read.
        """
        definitions = self.configuration.profiles
        chosen = list(dict.fromkeys(profiles)) or [
            name for name in self.enabled if definitions[name].store is StorageMode.FILE
        ]
        volatile = {
            name
            for name in chosen
            if name in definitions and definitions[name].store is StorageMode.MEMORY
        }
        lasting = [name for name in chosen if name not in volatile]
        outcomes: dict[str, Outcome] = {name: _daemon_needed(name) for name in volatile}
        if lasting:
            self._file.recover()
            with self._scheduler(self._file, stored_credentials(self._file)) as (scheduler, _):
                coming = scheduler.refresh(lasting, force=force, min_left=min_left)
                awaited = _awaited(coming, timeout, on_outcome)
                outcomes |= {outcome.profile: outcome for outcome in awaited}
        return tuple(outcomes[name] for name in chosen)

    def credentials(
        self, profile: str, *, min_left: timedelta
    ) -> tuple[Credentials, Failure | None]:
        """Return a profile's credentials, refreshed first where under `min_left` is left of them.

        Returns:
            The credentials, and why they could not be refreshed where they are the old ones.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
            CredentialsFileError: the file can't be read.
            RefreshFailedError: there are none that last for a minute.
        """
        self._file.recover()
        with self._scheduler(self._file, stored_credentials(self._file)) as (scheduler, _):
            credentials = scheduler.credentials(profile, min_left=min_left).result()
            return credentials, scheduler.statuses([profile])[0].last_error

    def check_live(
        self, on_outcome: Callable[[Outcome], None] | None = None
    ) -> tuple[LiveCheck, ...]:
        """Assume each role, in the order of the configuration, and write nothing.

        Args:
            on_outcome: called with each outcome as it comes.
        """
        definitions = self.configuration.profiles
        requests: list[StsRequest] = []
        sts = StsClient(
            SystemClock(),
            connections=len(definitions),
            on_request=requests.append,
            reports_identity=True,
        )
        with self._scheduler(_Nowhere(), {}, sts=sts) as (scheduler, refresher):
            outcomes = _awaited(scheduler.refresh((), force=True), None, on_outcome)
            return tuple(
                LiveCheck(
                    definition=definitions[outcome.profile],
                    outcome=outcome,
                    session=refresher.sessions.get(outcome.profile) if outcome.ok else None,
                    seen=trace_calls(definitions[outcome.profile], requests),
                )
                for outcome in outcomes
            )

    def clashes(self, environ: Mapping[str, str]) -> tuple[Finding, ...]:
        """Return where AWS tools would not look at what is kept fresh.

        Args:
            environ: of the shell, and where the AWS config file is.

        Raises:
            SourceUnavailableError: one of the AWS files can't be read.
            CredentialsFileMalformedError: likewise, with the line.
        """
        stored_in = credentials_path(self.configuration, environ)
        files = read_aws_files(Path(aws_config_file(environ)), stored_in)
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


def _awaited(
    coming: Mapping[str, Future[Outcome]],
    timeout: timedelta | None,
    on_outcome: Callable[[Outcome], None] | None,
) -> tuple[Outcome, ...]:
    """Return the outcomes that are there in time, each of the others as a failure."""
    if on_outcome is not None:
        for outcome in coming.values():
            outcome.add_done_callback(lambda done: on_outcome(done.result()))
    wait(coming.values(), None if timeout is None else timeout.total_seconds())
    return tuple(
        outcome.result()
        if outcome.done()
        else _failed(
            profile,
            code="Timeout",
            message="the refresh is still under way",
            hint="give it more time with `--timeout`",
        )
        for profile, outcome in coming.items()
    )


def _daemon_needed(profile: str) -> Outcome:
    return _failed(
        profile,
        code="DaemonNeeded",
        message="it is kept in memory alone (`store: memory`), and no daemon runs to keep it",
        hint="start one: `systemctl --user start assumed`, or `assumed run`",
    )


def _failed(profile: str, *, code: str, message: str, hint: str) -> Outcome:
    failure = Failure(
        code=code, message=f"profile {profile}: {message}", hint=hint, at=SystemClock().now()
    )
    return Outcome(profile=profile, failure=failure)


class _Nowhere:
    """A store that keeps nothing."""

    def write(self, profile: str, credentials: Credentials, *, overwrite: bool) -> Future[None]:
        """Forget the credentials."""
        return already_done()

    def remove(self, profiles: Sequence[str]) -> None:
        """There is nothing to remove."""
