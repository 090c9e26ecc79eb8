"""One profile, once: source -> STS -> store -> session. It knows nothing of the scheduler."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from botocore.session import Session as BotocoreSession

from assumed.arn import Arn
from assumed.clock import Clock
from assumed.credential_sources.base import CredentialProvider
from assumed.engine.refresh_policy import refresh_due_in
from assumed.errors import ParentNotReadyError, SourceRejectedError, SourceUnavailableError
from assumed.models import (
    Credentials,
    ManagedProfile,
    MfaSession,
    ProfileDefinition,
    RoleSession,
    RootSource,
    SourceAuthentication,
    SourceCredentials,
    StorageMode,
)
from assumed.sts.client import AssumedRole, CallerIdentity

# STS tells its time to the second.
_NOTABLE_SECONDS = 2
_LEAST_LIFETIME = timedelta(minutes=1)


class MfaSessionStore(Protocol):
    """What `sources.mfa.MfaSessions` tells of sessions, and does for them."""

    def expires_at(self, source: MfaSession) -> datetime | None:
        """Return when a session ends, by STS's clock; None where there is none."""
        ...

    def remaining(self, source: MfaSession) -> timedelta:
        """Return what is left of a session; zero where there is none."""
        ...

    def start(self, source: MfaSession, code: str) -> datetime:
        """Start a session with a code; return when it ends."""
        ...


class Sources(Protocol):
    """What a refresh asks of `sources.Sources`."""

    @property
    def mfa(self) -> MfaSessionStore:
        """The sessions that MFA codes start."""
        ...

    def resolve(self, source: RootSource) -> CredentialProvider:
        """Return a source; its credentials are not asked for yet."""
        ...

    def fingerprint(self, source: RootSource) -> str | None:
        """Return what changes when the credentials of a source may have."""
        ...

    @property
    def directories(self) -> frozenset[Path]:
        """Where something changes when the credentials of a source may have."""
        ...


class Sts(Protocol):
    """What a refresh asks of `sts.StsClient`."""

    @property
    def clock_ahead(self) -> timedelta:
        """By how much STS's clock is ahead of this machine's; zero where that is nothing."""
        ...

    def assume_role(
        self,
        definition: ProfileDefinition,
        credentials: SourceAuthentication,
        botocore_session: BotocoreSession,
    ) -> AssumedRole:
        """Call AssumeRole, or AssumeRoleWithWebIdentity, once."""
        ...

    def get_caller_identity(
        self,
        definition: ProfileDefinition,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> CallerIdentity:
        """Ask once whose credentials these are."""
        ...


class Store(Protocol):
    """What a refresh asks of `store.CredentialsFile`."""

    def write(self, profile: str, credentials: Credentials, *, overwrite: bool) -> Future[None]:
        """Return what is done once the credentials are on disk."""
        ...

    def remove(self, profiles: Sequence[str]) -> object:
        """Return when what was written for `profiles` is on disk no more."""
        ...


def already_done() -> Future[None]:
    """Return what is done already, for a store that has nothing to write."""
    done: Future[None] = Future()
    done.set_result(None)
    return done


class Refresher:
    """Refreshes profiles and holds their sessions; safe to use from many threads."""

    def __init__(self, *, clock: Clock, sources: Sources, sts: Sts, store: Store) -> None:
        self._clock = clock
        self._sources = sources
        self._sts = sts
        self._store = store
        self._lock = threading.Lock()
        self._definitions: Mapping[str, ProfileDefinition] = {}
        self._sessions: dict[str, RoleSession] = {}
        self._corrected: set[str] = set()
        self._uncorrected: set[str] = set()
        """Profiles whose session was found in the file, and was not reckoned anew yet."""
        self._in_no_file: set[str] = set()
        """Profiles kept in memory alone of which nothing is left in the file."""

    def define(self, definitions: Mapping[str, ProfileDefinition]) -> None:
        """Take over a configuration; sessions of roles that it does not name are forgotten."""
        with self._lock:
            before, self._definitions = self._definitions, definitions
            self._sessions = {
                profile: session
                for profile, session in self._sessions.items()
                if profile in definitions
                and _is_still_of(before[profile], definitions[profile], session.credentials)
            }

    def keep(self, stored: Mapping[str, Credentials]) -> None:
        """Hold the sessions that the file has already, expired ones too, of these very roles.

        Args:
            stored: credentials with our mark, by profile.
        """
        with self._lock:
            for profile, credentials in stored.items():
                definition = self._definitions.get(profile)
                if definition is not None and is_session_of(definition, credentials):
                    self._sessions.setdefault(profile, self._found(definition, credentials))

    def adopt(self, definition: ProfileDefinition, credentials: Credentials) -> bool:
        """Hold a session that another process has written, if it lasts longer than the held one.

        Returns:
            Whether it does, and is of this very role.
        """
        with self._lock:
            held = self._sessions.get(definition.profile)
            if not is_session_of(definition, credentials) or (
                held is not None and credentials.expiration <= held.credentials.expiration
            ):
                return False
            self._sessions[definition.profile] = self._found(definition, credentials)
            return True

    def mark_unstored(self, profile: str) -> None:
        """Know that the file does not hold the profile's session any more."""
        with self._lock:
            self._sessions[profile] = replace(self._sessions[profile], is_stored=False)

    @property
    def clock_skew(self) -> timedelta:
        """By how much this machine's clock is ahead of STS's; zero where that is nothing."""
        return -self._sts.clock_ahead

    def session(self, profile: str) -> RoleSession | None:
        """Return the session of a profile, expired or not; None where there is none."""
        with self._lock:
            return self._sessions.get(profile)

    def left(self, profile: str) -> timedelta:
        """Return what is left of a profile's session; zero or less where there is none."""
        session = self.session(profile)
        if session is None:
            return timedelta(0)
        return timedelta(seconds=session.expires_at - self._clock.boottime())

    def is_in_place(self, definition: ProfileDefinition) -> bool:
        """Whether a profile's session, expired or not, is where its readers look for it."""
        session = self.session(definition.profile)
        return session is not None and self._is_in_place(definition, session)

    def due_in(self, definition: ProfileDefinition, *, jitter: float) -> timedelta:
        """Return how long from now a refresh is due; zero or less where it is now."""
        session = self.session(definition.profile)
        if session is None or not self._is_in_place(definition, session):
            return timedelta(0)
        return self._session_due_in(definition, session, jitter=jitter)

    def refresh(self, definition: ProfileDefinition) -> Future[RoleSession]:
        """Assume the role and have the profile written; returns once the call is answered.

        A session that an earlier try could not write is written now, with no further call. That
        of a profile that is kept in memory is not written, and what the file had of it goes.

        Returns:
            Done once the session is on disk. It fails with `ParentNotReadyError`, where the profile
            that this one is chained to has no valid session, and with what `sources`, `sts` and
            `store` raise. Where the store failed the new session is held nevertheless.
        """
        answer: Future[RoleSession] = Future()
        answer.set_running_or_notify_cancel()
        try:
            session = self._misplaced_session(definition) or self._assume(definition)
            written = self._place(definition, session)
        except Exception as error:  # noqa: BLE001 - it goes to whoever waits
            answer.set_exception(error)
            return answer

        def hold(written: Future[None]) -> None:
            if (error := written.exception()) is not None:
                answer.set_exception(error)
                return
            placed = replace(session, is_stored=definition.store is StorageMode.FILE)
            self._hold(definition, placed)
            answer.set_result(placed)

        written.add_done_callback(hold)
        return answer

    def take_corrected(self) -> tuple[str, ...]:
        """Return the profiles whose kept session ends at another time than it seemed, once."""
        with self._lock:
            corrected, self._corrected = tuple(self._corrected), set()
            return corrected

    def source_fingerprint(self, definition: ProfileDefinition) -> str | None:
        """Return what changes when the calling credentials of a profile may have."""
        try:
            return self._sources.fingerprint(self._root(definition))
        except ParentNotReadyError:
            return None

    @property
    def logins(self) -> MfaSessionStore:
        """The sessions that MFA codes start."""
        return self._sources.mfa

    def mfa_session(self, definition: ProfileDefinition) -> MfaSession | None:
        """Return the MFA session that a profile hangs on, be it by a chain; None for none."""
        try:
            root = self._root(definition)
        except ParentNotReadyError:
            return None
        return root if isinstance(root, MfaSession) else None

    @property
    def source_directories(self) -> frozenset[Path]:
        """Where something changes when the credentials of a source may have."""
        return self._sources.directories

    def _found(self, definition: ProfileDefinition, credentials: Credentials) -> RoleSession:
        self._uncorrected.add(definition.profile)
        left = credentials.expiration - self._clock.now()
        return RoleSession(
            credentials=credentials,
            expires_at=self._clock.boottime() + left.total_seconds(),
            lifetime=timedelta(seconds=definition.duration_seconds),
            is_stored=True,
            trusts_wall_clock=True,
        )

    def _session_due_in(
        self, definition: ProfileDefinition, session: RoleSession, *, jitter: float
    ) -> timedelta:
        return refresh_due_in(
            timedelta(seconds=session.expires_at - self._clock.boottime()),
            lifetime=session.lifetime,
            refresh_before=definition.refresh_before,
            jitter=jitter,
        )

    def _is_in_place(self, definition: ProfileDefinition, session: RoleSession) -> bool:
        if definition.store is StorageMode.FILE:
            return session.is_stored
        return not session.is_stored and definition.profile in self._in_no_file

    def _misplaced_session(self, definition: ProfileDefinition) -> RoleSession | None:
        session = self.session(definition.profile)
        if session is None or self._is_in_place(definition, session):
            return None
        is_due = self._session_due_in(definition, session, jitter=0) <= timedelta(0)
        return None if is_due else session

    def _assume(self, definition: ProfileDefinition) -> RoleSession:
        source = self._sources.resolve(self._root(definition))
        # Measured before the call, so that a session is never taken for longer than it is.
        asked_at = self._clock.boottime()
        try:
            if definition.role_arn is None:
                answer = self._copy(definition, source)
            else:
                caller = self._caller(definition, source)
                asked_at = self._clock.boottime()
                answer = self._sts.assume_role(definition, caller, source.botocore_session)
        except SourceRejectedError:
            # What a process or a login gave may have been revoked: the next try asks for it anew.
            source.forget()
            raise
        lifetime = answer.credentials.expiration - answer.answered_at
        session = RoleSession(
            credentials=answer.credentials,
            expires_at=asked_at + lifetime.total_seconds(),
            lifetime=lifetime,
            refreshed_at=self._clock.now(),
        )
        self._hold(definition, session)
        self._correct_by(answer.answered_at, asked_at)
        return session

    def _place(self, definition: ProfileDefinition, session: RoleSession) -> Future[None]:
        """Have a session be where its readers look for it, and nowhere else."""
        profile = definition.profile
        if definition.store is StorageMode.FILE:
            self._in_no_file.discard(profile)
            return self._store.write(profile, session.credentials, overwrite=definition.overwrite)
        if profile not in self._in_no_file:
            self._store.remove([profile])
            self._in_no_file.add(profile)
        return already_done()

    def _copy(self, definition: ProfileDefinition, source: CredentialProvider) -> AssumedRole:
        """Return the source's own credentials, and whose they are, which STS alone knows."""
        held = self.session(definition.profile)
        own = source.temporary(other_than=held.credentials.access_key_id if held else None)
        caller = SourceCredentials(own.access_key_id, own.secret_access_key, own.session_token)
        identity = self._sts.get_caller_identity(definition, caller, source.botocore_session)
        if own.expiration - identity.answered_at < _LEAST_LIFETIME:
            # With less at each time it would be asked for ever faster.
            raise SourceUnavailableError(
                f"profile {definition.profile}: what {definition.source} gives ends within a "
                "minute",
                hint="it has to renew its own credentials in time; it is asked again until it does",
            )
        credentials = Credentials(
            access_key_id=own.access_key_id,
            secret_access_key=own.secret_access_key,
            session_token=own.session_token,
            expiration=own.expiration,
            principal_arn=identity.arn,
        )
        return AssumedRole(credentials, identity.answered_at)

    def _hold(self, definition: ProfileDefinition, session: RoleSession) -> None:
        with self._lock:
            # A reload may have changed the definition while the call was on its way.
            now_defined = self._definitions.get(definition.profile)
            if now_defined is not None and now_defined.is_same_call(definition):
                self._sessions[definition.profile] = session

    def _caller(
        self, definition: ProfileDefinition, source: CredentialProvider
    ) -> SourceAuthentication:
        if definition.parent is None:
            return source.credentials()
        parent = self.session(definition.parent)
        if parent is None or parent.expires_at <= self._clock.boottime():
            raise ParentNotReadyError(profile=definition.profile, parent=definition.parent)
        held = parent.credentials
        return SourceCredentials(held.access_key_id, held.secret_access_key, held.session_token)

    def _root(self, definition: ProfileDefinition) -> RootSource:
        """Return the source at the top of a chain: its endpoint and CA settings hold."""
        with self._lock:
            while isinstance(source := definition.source, ManagedProfile):
                # A reload may have taken the parent away while this refresh was on its way.
                if source.name not in self._definitions:
                    raise ParentNotReadyError(profile=definition.profile, parent=source.name)
                definition = self._definitions[source.name]
        return source

    def _correct_by(self, answered_at: datetime, asked_at: float) -> None:
        """Reckon anew, by STS's time, when the sessions that were found in the file end."""
        with self._lock:
            while self._uncorrected:
                profile = self._uncorrected.pop()
                session = self._sessions.get(profile)
                if session is None or not session.trusts_wall_clock:
                    continue
                left = session.credentials.expiration - answered_at
                expires_at = asked_at + left.total_seconds()
                if abs(expires_at - session.expires_at) > _NOTABLE_SECONDS:
                    self._corrected.add(profile)
                self._sessions[profile] = replace(
                    session, expires_at=expires_at, trusts_wall_clock=False
                )


def _is_still_of(
    before: ProfileDefinition, now: ProfileDefinition, credentials: Credentials
) -> bool:
    if now.role_arn is None:
        return now.is_same_call(before)
    return is_session_of(now, credentials)


def is_session_of(definition: ProfileDefinition, credentials: Credentials) -> bool:
    """Whether credentials are of this very role and session name.

    Never where no role is assumed: nothing in the file tells which source they were of.
    """
    if definition.role_arn is None:
        return False
    expected = Arn.parse(definition.role_arn).session(definition.role_session_name)
    return credentials.principal_arn == str(expected)
