"""The steps of one refresh: source, STS, store. The scheduler decides when they are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from botocore.session import Session as BotocoreSession

from assumed.arn import account_of
from assumed.clock import Clock
from assumed.credential_sources.base import CredentialProvider
from assumed.engine.session_store import SessionStore
from assumed.engine.sts_endpoints import StsEndpoint
from assumed.errors import (
    AssumedError,
    ParentNotReadyError,
    SourceRejectedError,
    SourceUnavailableError,
)
from assumed.models import (
    Credentials,
    ManagedProfile,
    MfaCode,
    MfaSession,
    ProfileDefinition,
    RoleSession,
    RootSource,
    SourceAuthentication,
    SourceCredentials,
    StorageMode,
    WebIdentity,
)
from assumed.sts.client import AssumedRole, CallerIdentity

_MIN_LIFETIME = timedelta(minutes=1)


class MfaSessionStore(Protocol):
    """The sessions that MFA codes start. Each method may read a file."""

    def expires_at(self, source: MfaSession) -> datetime | None:
        """Return the expiration of a session, by the clock of STS; None if there is none."""
        ...

    def remaining(self, source: MfaSession) -> timedelta:
        """Return how long a session still lasts; zero if there is none."""
        ...

    def start(self, source: MfaSession, code: str) -> datetime:
        """Start a session with a code; return its expiration."""
        ...

    def supply(self, source: MfaCode, code: str) -> None:
        """Take a code for the next AssumeRole call of a source."""
        ...


class Sources(Protocol):
    """The sources of credentials. Each method may read files."""

    @property
    def mfa(self) -> MfaSessionStore:
        """The sessions that MFA codes start."""
        ...

    def resolve(self, source: RootSource, config_profiles: Sequence[str]) -> CredentialProvider:
        """Return a source with the settings of a profile; its credentials are not loaded yet."""
        ...

    def fingerprint(self, source: RootSource, config_profiles: Sequence[str]) -> str | None:
        """Return a text that changes whenever its credentials or the settings may have changed."""
        ...

    def account_id(self, source: RootSource) -> str | None:
        """Return the account that a source's calls count against; None if it is not known."""
        ...

    @property
    def directories(self) -> frozenset[Path]:
        """The directories in which a change may mean other credentials of a source."""
        ...


class Sts(Protocol):
    """The calls to STS."""

    @property
    def clock_ahead(self) -> Mapping[str, timedelta]:
        """How far the clock of each endpoint is ahead of this machine's; zero if it is small."""
        ...

    def endpoint_url(self, definition: ProfileDefinition, session: BotocoreSession) -> str:
        """Return the URL that the calls for a profile are sent to; no network."""
        ...

    def assume_role(
        self, definition: ProfileDefinition, caller: SourceAuthentication, session: BotocoreSession
    ) -> AssumedRole:
        """Call AssumeRole, or AssumeRoleWithWebIdentity, once."""
        ...

    def get_caller_identity(
        self, definition: ProfileDefinition, caller: SourceCredentials, session: BotocoreSession
    ) -> CallerIdentity:
        """Call GetCallerIdentity once."""
        ...

    def check_session(
        self, definition: ProfileDefinition, issued: Credentials, session: BotocoreSession, /
    ) -> datetime:
        """Call GetCallerIdentity once with a role session; return the endpoint's time."""
        ...


class Store(Protocol):
    """The credentials file."""

    def write(self, profile: str, credentials: Credentials, *, overwrite: bool) -> Future[None]:
        """Return a future that is done once the credentials are on disk."""
        ...

    def remove(self, profiles: Sequence[str]) -> object:
        """Remove the credentials of `profiles` that were written under our mark."""
        ...


def already_done() -> Future[None]:
    """Return a future that is done, for a store that has nothing to write."""
    done: Future[None] = Future()
    done.set_result(None)
    return done


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call before it is made.

    Args:
        source_fingerprint: as the source was; None if it could not be read.
        source: resolved; None if it can't be resolved now.
        endpoint: the quota that the call uses; None if it is not known.
    """

    source_fingerprint: str | None = None
    source: CredentialProvider | None = None
    endpoint: StsEndpoint | None = None


class Refresher:
    """Assumes roles and stores their sessions; safe to use from many threads.

    Every method but `set_definitions` and `mfa_session` may read files or use the network: call
    none of them while holding the scheduler's lock.
    """

    def __init__(self, *, clock: Clock, sources: Sources, sts: Sts, store: Store) -> None:
        self.sessions = SessionStore(clock)
        self._clock = clock
        self._sources = sources
        self._sts = sts
        self._store = store
        self._definitions: Mapping[str, ProfileDefinition] = {}
        self._accounts: dict[RootSource, str] = {}
        """The account of each source that GetCallerIdentity was called for."""
        self._named_accounts: dict[RootSource, tuple[str | None, str | None]] = {}
        """The account of each other source as the AWS files name it, and its fingerprint then."""

    def set_definitions(self, definitions: Mapping[str, ProfileDefinition]) -> None:
        """Take a configuration; sessions of roles that it no longer names are forgotten."""
        self._definitions = definitions
        self.sessions.set_definitions(definitions)

    def prepare(self, definition: ProfileDefinition) -> PreparedCall:
        """Prepare a call: resolve the source and the endpoint.

        A source that cannot be resolved is no error here: it is one of `assume`.
        """
        fingerprint = None
        try:
            root = self._root_source(definition)
            # Before the call, so that a change while it is under way counts as a change.
            fingerprint = self._sources.fingerprint(root, definition.config_profiles)
            source = self._sources.resolve(root, definition.config_profiles)
            url = self._sts.endpoint_url(definition, source.botocore_session)
            account_id = self._role_account(definition) or self._account_of(root, fingerprint)
        except AssumedError:
            return PreparedCall(fingerprint)
        return PreparedCall(fingerprint, source, StsEndpoint(url, account_id))

    def assume(self, definition: ProfileDefinition, prepared: PreparedCall) -> RoleSession:
        """Get a new session: by AssumeRole, or as a copy of the source's own credentials.

        Returns:
            The session, which is recorded, and not stored yet.

        Raises:
            ParentNotReadyError: the profile that this one is chained to has no valid session.
            AssumedError: raised by the source or by the call to STS.
        """
        source = prepared.source or self._sources.resolve(
            self._root_source(definition), definition.config_profiles
        )
        # Measured before the call, so that a session is never taken for longer than it is.
        asked_at = self._clock.boottime()
        try:
            if definition.role_arn is None:
                answer = self._copy(definition, source)
            else:
                credentials = self._source_credentials(definition, source)
                asked_at = self._clock.boottime()
                answer = self._sts.assume_role(definition, credentials, source.botocore_session)
        except SourceRejectedError:
            # They may have been revoked: the next attempt has to load them again.
            source.forget()
            raise
        lifetime = answer.credentials.expiration - answer.answered_at
        if definition.role_arn is not None:
            # A proxy may have changed the `Date`; no session lasts longer than was requested.
            lifetime = min(lifetime, timedelta(seconds=definition.duration_seconds))
        session = RoleSession(
            credentials=answer.credentials,
            expires_at=asked_at + lifetime.total_seconds(),
            lifetime=lifetime,
            refreshed_at=self._clock.now(),
        )
        self.sessions.add(definition, session)
        return session

    def verify_sessions(self, definitions: Sequence[ProfileDefinition]) -> None:
        """Let STS decide how long sessions from the file last, with one call for all of them.

        The call is made with the first session. If STS cannot be reached, the wall clock stays in
        use; its time never makes a session look longer.
        """
        found = [(each, self.sessions.get(each.profile)) for each in definitions]
        stored = [(each, session) for each, session in found if session is not None]
        if not stored:
            return
        (first, session), *_ = stored
        asked_at = self._clock.boottime()
        try:
            answered_at = self.check_session(
                replace(first, fallback_regions=()), session.credentials, self.prepare(first)
            )
        except SourceRejectedError:
            self.sessions.expire(first.profile, session.credentials.access_key_id)
            return
        except AssumedError:
            return
        for definition, session in stored:
            self.sessions.bound(
                definition.profile,
                session.credentials.access_key_id,
                now=answered_at,
                at=asked_at,
                is_confirmed=definition is first,
            )

    def check_session(
        self, definition: ProfileDefinition, issued: Credentials, prepared: PreparedCall
    ) -> datetime:
        """Ask STS whether a session that was found in the file works.

        Returns:
            The time of the endpoint that it was issued by.

        Raises:
            SourceRejectedError: the session does not work.
            AssumedError: raised by the source or by the call to STS.
        """
        source = prepared.source or self._sources.resolve(
            self._root_source(definition), definition.config_profiles
        )
        return self._sts.check_session(definition, issued, source.botocore_session)

    def store_session(self, definition: ProfileDefinition, session: RoleSession) -> Future[None]:
        """Put a session where its readers look for it, and nowhere else.

        Returns:
            Done once the session is on disk; at once if the profile is kept in memory only. It
            fails with the errors of the store.
        """
        profile = definition.profile
        if definition.store is StorageMode.FILE:
            self.sessions.mark_removed(profile, is_removed=False)
            return self._store.write(profile, session.credentials, overwrite=definition.overwrite)
        if not self.sessions.is_removed(profile):
            self._store.remove([profile])
            self.sessions.mark_removed(profile, is_removed=True)
        return already_done()

    def source_fingerprint(self, definition: ProfileDefinition) -> str | None:
        """Return a text that changes whenever the source of a profile or its settings may have."""
        try:
            root = self._root_source(definition)
            return self._sources.fingerprint(root, definition.config_profiles)
        except ParentNotReadyError:
            return None

    def mfa_session(self, definition: ProfileDefinition) -> MfaSession | None:
        """Return the MFA session that a profile depends on, also through a chain; None if none."""
        try:
            root = self._root_source(definition)
        except ParentNotReadyError:
            return None
        return root if isinstance(root, MfaSession) else None

    def mfa_code(self, definition: ProfileDefinition) -> MfaCode | None:
        """Return the source whose AssumeRole calls carry a code, also through a chain."""
        try:
            root = self._root_source(definition)
        except ParentNotReadyError:
            return None
        return root if isinstance(root, MfaCode) else None

    @property
    def logins(self) -> MfaSessionStore:
        """The sessions that MFA codes start."""
        return self._sources.mfa

    @property
    def source_directories(self) -> frozenset[Path]:
        """The directories in which a change may mean other source credentials."""
        return self._sources.directories

    @property
    def clock_skews(self) -> Mapping[str, timedelta]:
        """How far this machine's clock is ahead of each endpoint's; zero if it is small."""
        return {url: -ahead for url, ahead in self._sts.clock_ahead.items()}

    def _copy(self, definition: ProfileDefinition, source: CredentialProvider) -> AssumedRole:
        """Return the source's own credentials, with the ARN that STS knows them by."""
        known = self.sessions.get(definition.profile)
        own = source.temporary(other_than=known.credentials.access_key_id if known else None)
        signer = SourceCredentials(own.access_key_id, own.secret_access_key, own.session_token)
        identity = self._sts.get_caller_identity(definition, signer, source.botocore_session)
        if own.expiration - identity.answered_at < _MIN_LIFETIME:
            # Otherwise a source that does not renew them in time would be asked ever faster.
            raise SourceUnavailableError(
                f"the credentials of {definition.source} expire within a minute",
                hint="the source has to refresh its own credentials earlier",
            )
        credentials = Credentials(
            access_key_id=own.access_key_id,
            secret_access_key=own.secret_access_key,
            session_token=own.session_token,
            expiration=own.expiration,
            principal_arn=identity.arn,
        )
        self._accounts[self._root_source(definition)] = credentials.account_id
        return AssumedRole(credentials, identity.answered_at)

    def _source_credentials(
        self, definition: ProfileDefinition, source: CredentialProvider
    ) -> SourceAuthentication:
        if definition.parent is None:
            return source.credentials()
        parent = self.sessions.get(definition.parent)
        if parent is None or parent.expires_at <= self._clock.boottime():
            raise ParentNotReadyError(profile=definition.profile, parent=definition.parent)
        found = parent.credentials
        return SourceCredentials(found.access_key_id, found.secret_access_key, found.session_token)

    def _root_source(self, definition: ProfileDefinition) -> RootSource:
        """Return the source at the top of a chain."""
        definitions = self._definitions
        while isinstance(source := definition.source, ManagedProfile):
            # A reload may have removed the parent while this refresh was under way.
            if source.name not in definitions:
                raise ParentNotReadyError(profile=definition.profile, parent=source.name)
            definition = definitions[source.name]
        return source

    def _role_account(self, definition: ProfileDefinition) -> str | None:
        """Return the account of the role whose quota a call uses; None if a source makes it.

        In a chain it is the parent's role. A call with a web identity token is signed by no
        account: the role's own stands for it.
        """
        definitions = self._definitions
        while isinstance(source := definition.source, ManagedProfile):
            parent = definitions.get(source.name)
            if parent is None:
                return None
            if parent.role_arn is not None:
                return account_of(parent.role_arn)
            definition = parent
        if isinstance(source, WebIdentity) and definition.role_arn is not None:
            return account_of(definition.role_arn)
        return None

    def _account_of(self, source: RootSource, fingerprint: str | None) -> str:
        """Return the account of a source; the source's own name if it is not known.

        It is the one that GetCallerIdentity has named, or the one that the AWS files name.
        """
        if source in self._accounts:
            return self._accounts[source]
        known = self._named_accounts.get(source)
        if known is None or known[0] != fingerprint:
            known = fingerprint, self._sources.account_id(source)
            self._named_accounts[source] = known
        return known[1] or str(source)
