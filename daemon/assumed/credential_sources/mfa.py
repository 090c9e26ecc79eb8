"""MFA sessions: started with one MFA code, cached for the day in memory and in a 0600 file.

A session of GetSessionToken passes the MFA context to each role that is assumed from it. STS limits
such a role to an hour, like a chained one; `mfa_codes` sends the code with AssumeRole instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from botocore.session import Session as BotocoreSession

from assumed.clock import Clock
from assumed.credential_sources.aws_files_reader import FileState, file_state
from assumed.credential_sources.mfa_cache import MfaCacheFile
from assumed.credential_sources.mfa_codes import MfaCodes, long_term_keys, parse_mfa_code
from assumed.credential_sources.mfa_command import read_mfa_code
from assumed.credential_sources.profile import ResolvedSource, SourceProfiles
from assumed.credential_sources.source_slots import SOURCE_SLOTS
from assumed.errors import (
    AssumedError,
    LocalFaultError,
    MfaCodeNeededError,
)
from assumed.file_calls import FileCalls, HangingFileError
from assumed.fsutil import local_fault_hint
from assumed.models import (
    MfaCode,
    MfaSession,
    SessionTokenResponse,
    SourceCredentials,
    TemporaryCredentials,
)

_NEVER = float("-inf")


class SessionTokenIssuer(Protocol):
    """The part of `StsClient` that starts MFA sessions."""

    def mfa_clock_ahead(self, source: MfaSession, botocore_session: BotocoreSession) -> timedelta:
        """Return how far the clock of the endpoint is ahead of this machine's; zero if unknown."""
        ...

    def get_session_token(
        self,
        source: MfaSession,
        code: str,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> SessionTokenResponse:
        """Call GetSessionToken once."""
        ...


@dataclass(slots=True)
class _MfaSessionState:
    """The state of one MFA session."""

    file: MfaCacheFile
    start_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the next session is started, for as long as a command or STS takes."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards the fields below; held briefly, because the scheduler reads them."""
    credentials: TemporaryCredentials | None = None
    expires_at: float = 0.0
    """Seconds of `Clock.boottime()`."""
    trusts_wall_clock: bool = False
    """Whether `expires_at` was computed with the local wall clock: a step makes it earlier."""
    file_state: FileState | None = None
    """The state of the file when it was last read."""
    fault: LocalFaultError | None = None
    """Why the file cannot be read now."""
    rejected: set[str] = field(default_factory=set)
    """The access key ids that STS has rejected."""
    failed_at: float = _NEVER
    failure: AssumedError | None = None


class MfaSessions:
    """One MFA session for each source profile and device; safe to use from many threads.

    Args:
        profiles: the profiles with the long-term keys.
        sts: starts sessions.
        clock: the source of time.
        directory: of the cache files, private to this program; created when needed.
        run: runs the command that prints a code.
    """

    def __init__(
        self,
        profiles: SourceProfiles,
        sts: SessionTokenIssuer,
        clock: Clock,
        directory: Path,
        *,
        run: Callable[[tuple[str, ...]], str] = read_mfa_code,
    ) -> None:
        self._profiles = profiles
        self._sts = sts
        self._clock = clock
        self.codes = MfaCodes(clock, run=run)
        """The codes of the devices, which also sources without a session use."""
        self.directory = directory
        self._files = FileCalls(str(directory))
        self._lock = threading.Lock()
        self._states: dict[tuple[str, str], _MfaSessionState] = {}

    def resolve(self, source: MfaSession, config_profiles: Sequence[str] = ()) -> MfaSource:
        """Return the source, without asking for a code.

        Args:
            source: which; its own settings decide where GetSessionToken is called.
            config_profiles: for the calls that the session signs, as in `SourceProfiles.resolve`.

        Raises:
            SourceMissingError: the source profile does not exist.
            SourceUnavailableError: the AWS files cannot be read.
        """
        name = source.profile.name
        return MfaSource(
            self,
            source,
            self._profiles.resolve(name, source.config_profiles),
            self._profiles.resolve(name, config_profiles).botocore_session,
        )

    def fingerprint(self, source: MfaSession) -> str | None:
        """Return a text that changes with the keys or the session; None if unreadable."""
        keys = self._profiles.fingerprint(source.profile.name)
        path = self._state_for(source).file.path
        try:
            return None if keys is None else f"{keys} {self._files.run(lambda: file_state(path))}"
        except HangingFileError:
            return None

    def expires_at(self, source: MfaSession) -> datetime | None:
        """Return the expiration by STS's clock, aware UTC; None if there is no valid session."""
        state = self._state_for(source)
        with state.lock:
            current = self._current(source, state)
            return current.expiration if current else None

    def remaining(self, source: MfaSession) -> timedelta:
        """Return the remaining lifetime of the session; zero if there is no valid session."""
        state = self._state_for(source)
        with state.lock:
            if self._current(source, state) is None:
                return timedelta(0)
            return timedelta(seconds=state.expires_at - self._clock.boottime())

    def start(self, source: MfaSession, code: str) -> datetime:
        """Start a session with a code that the user entered; return its expiration, aware UTC.

        Raises:
            UsageError: the code is not six digits.
            MfaCodeRejectedError: STS rejects the code, or it was used before.
            AssumedError: the long-term keys or STS are unavailable.
        """
        code = parse_mfa_code(code)
        resolved = self._profiles.resolve(source.profile.name, source.config_profiles)
        state = self._state_for(source)
        with state.start_lock:
            return self._start(source, code, resolved, state).expiration

    def supply(self, source: MfaCode, code: str) -> None:
        """Take a code that the user has entered for the next AssumeRole call of a source.

        Raises:
            UsageError: the code is not six digits.
            MfaCodeRejectedError: it was used before.
        """
        self.codes.supply(source, code)

    def credentials(
        self, source: MfaSession, resolved: ResolvedSource, *, other_than: str | None = None
    ) -> TemporaryCredentials:
        """Return the session's credentials; start a session if a command gives the code.

        Args:
            source: the session.
            resolved: the profile with the long-term keys.
            other_than: the access key id of a session to replace, if a command gives the code.

        Raises:
            MfaCodeNeededError: there is no valid session, and the user has to enter a code.
            LocalFaultError: the stored session cannot be read now.
            AssumedError: as `start`.
        """
        state = self._state_for(source)
        asked_at = self._clock.boottime()
        if (current := self._reusable(source, state, other_than)) is not None:
            return current
        if not source.process:
            if state.fault is not None:
                raise state.fault
            raise MfaCodeNeededError(
                f"there is no valid MFA session of {source.serial} for source {source.profile}",
                hint="enter an MFA code with `assumed login`",
            )
        label = f"MFA session of {source.serial}"
        with SOURCE_SLOTS.exclusive(state.start_lock, label):
            # Another thread may have started the session meanwhile, or failed to.
            if (current := self._reusable(source, state, other_than)) is not None:
                return current
            if state.failure is not None and state.failed_at >= asked_at:
                raise state.failure
            try:
                return self._start(source, self.codes.of_command(source), resolved, state)
            except AssumedError as error:
                state.failed_at, state.failure = self._clock.boottime(), error
                raise

    def reject(self, source: MfaSession, access_key_id: str) -> None:
        """Record that STS rejects this session; a newer one is not affected."""
        state = self._state_for(source)
        with state.lock:
            state.rejected.add(access_key_id)

    def _reusable(
        self, source: MfaSession, state: _MfaSessionState, other_than: str | None
    ) -> TemporaryCredentials | None:
        with state.lock:
            current = self._current(source, state)
        is_replaced = (
            bool(source.process) and current is not None and current.access_key_id == other_than
        )
        return None if is_replaced else current

    def _start(
        self, source: MfaSession, code: str, resolved: ResolvedSource, state: _MfaSessionState
    ) -> TemporaryCredentials:
        keys = long_term_keys(source, resolved)
        self.codes.claim(code)
        asked_at = self._clock.boottime()
        issued = self._sts.get_session_token(source, code, keys, resolved.botocore_session)
        lifetime = issued.credentials.expiration - issued.answered_at
        state.failure = None
        with state.lock:
            state.credentials = issued.credentials
            state.expires_at = asked_at + lifetime.total_seconds()
            state.trusts_wall_clock = False
        with suppress(HangingFileError):
            # Without the lock, which the scheduler takes.
            state.file_state = self._files.run(partial(_write, state.file, source, issued))
        return issued.credentials

    def _current(self, source: MfaSession, state: _MfaSessionState) -> TemporaryCredentials | None:
        """Return the session that is valid now, after loading a changed cache file."""
        known = state.file_state
        state.fault = None
        try:
            changed = self._files.run(partial(_read_if_changed, state.file, source, known))
        except HangingFileError as error:
            state.fault = LocalFaultError(
                f"{error.filename}: {error.strerror}", hint=local_fault_hint(error)
            )
        except LocalFaultError as error:
            # What is known stays; the file is read again the next time.
            state.fault = error
        else:
            if changed is not None:
                state.file_state, stored = changed
                self._adopt(source, state, stored)
        current = state.credentials
        if current is None or current.access_key_id in state.rejected:
            return None
        if state.trusts_wall_clock:
            state.expires_at = min(state.expires_at, self._expires_at(current, self._clock.now()))
        return current if state.expires_at > self._clock.boottime() else None

    def _adopt(
        self, source: MfaSession, state: _MfaSessionState, stored: TemporaryCredentials | None
    ) -> None:
        """Use the session that another process or an earlier run stored, if it lasts longer."""
        known = state.credentials
        if stored is None or (known is not None and stored.expiration <= known.expiration):
            return
        ahead = timedelta(0)
        # Without its profile the session is of no use, whatever the time.
        with suppress(AssumedError):
            botocore_session = self._profiles.resolve(
                source.profile.name, source.config_profiles
            ).botocore_session
            ahead = self._sts.mfa_clock_ahead(source, botocore_session)
        state.credentials = stored
        state.expires_at = self._expires_at(stored, self._clock.now() + ahead)
        state.trusts_wall_clock = not ahead

    def _expires_at(self, credentials: TemporaryCredentials, now: datetime) -> float:
        """Return the expiration in seconds of `Clock.boottime()`, if `now` is the time."""
        return self._clock.boottime() + (credentials.expiration - now).total_seconds()

    def _state_for(self, source: MfaSession) -> _MfaSessionState:
        key = (source.profile.name, source.serial)
        with self._lock:
            if key not in self._states:
                self._states[key] = _MfaSessionState(MfaCacheFile.of(self.directory, source))
            return self._states[key]


def _read_if_changed(
    file: MfaCacheFile, source: MfaSession, known: FileState | None
) -> tuple[FileState, TemporaryCredentials | None] | None:
    state = file_state(file.path)
    return None if state == known else (state, file.read(source))


def _write(file: MfaCacheFile, source: MfaSession, issued: SessionTokenResponse) -> FileState:
    file.write(source, issued.credentials)
    return file_state(file.path)


class MfaSource:
    """An MFA session as a `CredentialProvider`.

    Args:
        sessions: start it.
        source: which.
        resolved: the profile with the long-term keys, for GetSessionToken.
        botocore_session: for the calls that the session signs.
    """

    def __init__(
        self,
        sessions: MfaSessions,
        source: MfaSession,
        resolved: ResolvedSource,
        botocore_session: BotocoreSession,
    ) -> None:
        self.botocore_session = botocore_session
        self._sessions = sessions
        self._source = source
        self._resolved = resolved
        self._last_used: str | None = None
        """The access key id of the session that was returned last."""

    def credentials(self) -> SourceCredentials:
        """Return the credentials of the MFA session.

        Raises:
            MfaCodeNeededError: the user has to enter a code.
            AssumedError: the session cannot be started.
        """
        found = self.temporary(other_than=None)
        return SourceCredentials(found.access_key_id, found.secret_access_key, found.session_token)

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials:
        """Return the MFA session itself; see `CredentialProvider`.

        Raises:
            MfaCodeNeededError: the user has to enter a code.
            AssumedError: the session cannot be started.
        """
        found = self._sessions.credentials(self._source, self._resolved, other_than=other_than)
        self._last_used = found.access_key_id
        return found

    def forget(self) -> None:
        """Reject the session that was returned last, and clear the cached long-term keys."""
        if self._last_used is not None:
            self._sessions.reject(self._source, self._last_used)
        self._resolved.forget()
