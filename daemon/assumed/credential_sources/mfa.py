"""Sessions that one MFA code starts, kept for the day: in memory, and in a file of mode 0600.

A session of GetSessionToken carries the MFA context into each role that is assumed from it, and is
no role itself, so that the hour of chained roles does not count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from botocore.session import Session as BotocoreSession

from assumed.clock import Clock
from assumed.credential_sources.mfa_cache import MfaCacheFile
from assumed.credential_sources.mfa_command import is_mfa_code, read_mfa_code
from assumed.credential_sources.profile import FileState, ResolvedSource, SourceProfiles, file_state
from assumed.errors import (
    AssumedError,
    MfaCodeNeededError,
    MfaCodeRejectedError,
    SourceMissingError,
    SourceUnavailableError,
    UsageError,
)
from assumed.models import MfaSession, SessionTokenResponse, SourceCredentials, TemporaryCredentials

# RFC 6238: how long a device shows one code. STS takes each once.
_STEP_SECONDS = 30.0
_NEVER = float("-inf")


class SessionTokenIssuer(Protocol):
    """What an MFA session asks of `sts.StsClient`."""

    @property
    def clock_ahead(self) -> timedelta:
        """By how much STS's clock is ahead of this machine's."""
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
    """What is known of one session."""

    file: MfaCacheFile
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Of whoever starts the next session, which takes as long as a command or STS does."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards what is below, and is never held for long: the scheduler looks at it."""
    credentials: TemporaryCredentials | None = None
    expires_at: float = 0.0
    """Seconds of `Clock.boottime()`."""
    read: FileState | None = None
    """How the file was when it was read."""
    rejected: set[str] = field(default_factory=set)
    """Access key ids that STS does not take any more."""
    failed_at: float = _NEVER
    failure: AssumedError | None = None


class MfaSessions:
    """One session for each source profile and device; safe to use from many threads.

    Args:
        profiles: hold the long-term keys.
        sts: starts sessions.
        clock: the source of time.
        directory: of the files, ours alone; it need not be there yet.
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
        self._run = run
        self.directory = directory
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], _MfaSessionState] = {}
        self._used: dict[str, float] = {}
        """When codes were given to STS: each is good once."""
        self._asked: dict[object, float] = {}
        """When a device gave a code, by the command that asks it, and by its serial."""

    def resolve(self, source: MfaSession) -> MfaSource:
        """Return the source; no code is asked for yet.

        Raises:
            SourceMissingError: there is no such profile.
            SourceUnavailableError: the AWS files can't be read.
        """
        return MfaSource(self, source, self._profiles.resolve(source.profile.name))

    def fingerprint(self, source: MfaSession) -> str | None:
        """Return what changes when the long-term keys or the session do; None if unreadable."""
        keys = self._profiles.fingerprint(source.profile.name)
        return None if keys is None else f"{keys} {file_state(self._of(source).file.path)}"

    def expires_at(self, source: MfaSession) -> datetime | None:
        """Return when the session ends, by STS's clock, aware UTC; None where there is none."""
        held = self._of(source)
        with held.lock:
            found = self._living(source, held)
            return found.expiration if found else None

    def remaining(self, source: MfaSession) -> timedelta:
        """Return what is left of the session; zero where there is none."""
        held = self._of(source)
        with held.lock:
            if self._living(source, held) is None:
                return timedelta(0)
            return timedelta(seconds=held.expires_at - self._clock.boottime())

    def start(self, source: MfaSession, code: str) -> datetime:
        """Start a session with a code that somebody typed; return when it ends, aware UTC.

        Raises:
            UsageError: it is no code.
            MfaCodeRejectedError: it was used already, or STS does not take it.
            AssumedError: the long-term keys can't be had, STS can't be reached.
        """
        if not is_mfa_code(code):
            raise UsageError(
                f"{source}: an MFA code is six digits", hint="give what the device shows now"
            )
        resolved = self._profiles.resolve(source.profile.name)
        held = self._of(source)
        with held.turn:
            return self._start(source, code, resolved, held).expiration

    def credentials(
        self, source: MfaSession, resolved: ResolvedSource, *, other_than: str | None = None
    ) -> TemporaryCredentials:
        """Return the credentials of the session, of a new one where a command gives the code.

        Args:
            source: which.
            resolved: the profile with the long-term keys.
            other_than: the access key id of a session that is to be replaced where a command can.

        Raises:
            MfaCodeNeededError: there is none, and somebody has to type a code.
            AssumedError: as `start`.
        """
        held = self._of(source)
        asked_at = self._clock.boottime()
        if (found := self._usable(source, held, other_than)) is not None:
            return found
        if not source.process:
            raise MfaCodeNeededError(
                f"{source.profile}: there is no session of {source.serial} that lasts",
                hint="`assumed login` asks for a code; refreshes go on by themselves after it",
            )
        with held.turn:
            # Who waited for the turn meanwhile does not run the command once more.
            if (found := self._usable(source, held, other_than)) is not None:
                return found
            if held.failure is not None and held.failed_at >= asked_at:
                raise held.failure
            try:
                return self._start(source, self._code_of_process(source), resolved, held)
            except AssumedError as error:
                held.failed_at, held.failure = self._clock.boottime(), error
                raise

    def _usable(
        self, source: MfaSession, held: _MfaSessionState, other_than: str | None
    ) -> TemporaryCredentials | None:
        with held.lock:
            found = self._living(source, held)
        is_to_go = bool(source.process) and found is not None and found.access_key_id == other_than
        return None if is_to_go else found

    def reject(self, source: MfaSession, access_key_id: str) -> None:
        """Know that STS does not take this session any more; a newer one is as good as before."""
        held = self._of(source)
        with held.lock:
            held.rejected.add(access_key_id)

    def _start(
        self, source: MfaSession, code: str, resolved: ResolvedSource, held: _MfaSessionState
    ) -> TemporaryCredentials:
        keys = resolved.credentials()
        if keys.session_token is not None:
            raise SourceMissingError(
                f"{source.profile} holds temporary credentials, and an MFA session starts from "
                "long-term keys alone",
                hint="name a source_profile with long-term keys, or take mfa_serial away",
            )
        self._use_up(source, code)
        asked_at = self._clock.boottime()
        issued = self._sts.get_session_token(source, code, keys, resolved.botocore_session)
        lifetime = issued.credentials.expiration - issued.answered_at
        held.failure = None
        with held.lock:
            held.credentials = issued.credentials
            held.expires_at = asked_at + lifetime.total_seconds()
            held.file.write(source, issued.credentials)
            held.read = file_state(held.file.path)
        return issued.credentials

    def _use_up(self, source: MfaSession, code: str) -> None:
        now = self._clock.boottime()
        with self._lock:
            # STS takes the codes of the steps before and after its own as well.
            self._used = {
                used: at for used, at in self._used.items() if now < at + 3 * _STEP_SECONDS
            }
            if code in self._used:
                raise MfaCodeRejectedError(
                    f"{source}: this code was used already, and each is good once",
                    hint="give the next one, which the device shows within half a minute",
                )
            self._used[code] = now

    def _code_of_process(self, source: MfaSession) -> str:
        # A device that several serials share shows one code for all of them.
        devices = (source.process, source.serial)
        now = self._clock.boottime()
        with self._lock:
            last = max(self._asked.get(device, _NEVER) for device in devices)
            if now < last + _STEP_SECONDS:
                raise SourceUnavailableError(
                    f"{source}: the device has not shown its next code yet",
                    hint="nothing to do: it is asked again when half a minute has gone by",
                )
            self._asked.update(dict.fromkeys(devices, now))
        try:
            code = self._run(source.process)
        except AssumedError:
            with self._lock:
                for device in devices:
                    self._asked.pop(device, None)
            raise
        with self._lock:
            self._asked.update(dict.fromkeys(devices, self._clock.boottime()))
        return code

    def _living(self, source: MfaSession, held: _MfaSessionState) -> TemporaryCredentials | None:
        state = file_state(held.file.path)
        if state != held.read:
            held.read = state
            self._take(held, held.file.read(source))
        found = held.credentials
        if found is None or found.access_key_id in held.rejected:
            return None
        return found if held.expires_at > self._clock.boottime() else None

    def _take(self, held: _MfaSessionState, found: TemporaryCredentials | None) -> None:
        """Hold what another process has left, or this one's last run, if it lasts longer."""
        known = held.credentials
        if found is None or (known is not None and found.expiration <= known.expiration):
            return
        left = found.expiration - (self._clock.now() + self._sts.clock_ahead)
        held.credentials = found
        held.expires_at = self._clock.boottime() + left.total_seconds()

    def _of(self, source: MfaSession) -> _MfaSessionState:
        key = (source.profile.name, source.serial)
        with self._lock:
            if key not in self._held:
                self._held[key] = _MfaSessionState(MfaCacheFile.of(self.directory, source))
            return self._held[key]


class MfaSource:
    """One MFA session as a source."""

    def __init__(self, sessions: MfaSessions, source: MfaSession, resolved: ResolvedSource) -> None:
        self._sessions = sessions
        self._source = source
        self._resolved = resolved
        self._given: str | None = None
        """The access key id of the session that was asked for last."""

    @property
    def botocore_session(self) -> BotocoreSession:
        """The botocore session of the source profile."""
        return self._resolved.botocore_session

    def credentials(self) -> SourceCredentials:
        """Return what signs calls now.

        Raises:
            MfaCodeNeededError: somebody has to type a code.
            AssumedError: the session can't be started.
        """
        found = self._sessions.credentials(self._source, self._resolved)
        self._given = found.access_key_id
        return SourceCredentials(found.access_key_id, found.secret_access_key, found.session_token)

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials:
        """Return the session itself; see `CredentialProvider`.

        Raises:
            MfaCodeNeededError: somebody has to type a code.
            AssumedError: the session can't be started.
        """
        found = self._sessions.credentials(self._source, self._resolved, other_than=other_than)
        self._given = found.access_key_id
        return found

    def forget(self) -> None:
        """Take the session for lost, and have the long-term keys found anew."""
        if self._given is not None:
            self._sessions.reject(self._source, self._given)
        self._resolved.forget()
