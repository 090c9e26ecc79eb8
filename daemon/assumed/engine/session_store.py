"""The role sessions of all profiles: the newest ones, and those that readers have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from assumed.arn import Arn
from assumed.clock import Clock
from assumed.engine.refresh_policy import ZERO, refresh_due_in
from assumed.models import Credentials, ProfileDefinition, RoleSession, StorageMode

# STS gives its time in whole seconds.
_MIN_CORRECTION_SECONDS = 2


@dataclass(frozen=True, slots=True)
class _Record:
    """The sessions of one profile; never changed, only replaced.

    Args:
        session: the newest session, expired or not, written or not.
        in_file: the last session that was known to be in the credentials file.
        delivered_key: the access key id of the last session that readers could see.
        is_removed: the profile is kept in memory only, and is not in the file.
    """

    session: RoleSession | None = None
    in_file: RoleSession | None = None
    delivered_key: str | None = None
    is_removed: bool = False


_EMPTY = _Record()


class SessionStore:
    """The only owner of role sessions: it knows which exist, how long they last, where they are.

    Safe to use from many threads. Reading takes no lock, so an event loop may do it. No method
    reads a file or uses the network.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._definitions: Mapping[str, ProfileDefinition] = {}
        self._records: dict[str, _Record] = {}
        self._unconfirmed: dict[str, None] = {}
        """Profiles that may have a session whose expiration only the wall clock has given."""

    def set_definitions(self, definitions: Mapping[str, ProfileDefinition]) -> None:
        """Take a configuration; sessions of roles that it no longer names are forgotten."""
        with self._lock:
            before, self._definitions = self._definitions, definitions
            self._records = {
                profile: _carried_over(record, before.get(profile), definitions[profile])
                for profile, record in self._records.items()
                if profile in definitions
            }

    def load_stored_sessions(self, stored: Mapping[str, Credentials]) -> None:
        """Load sessions of the configured roles from the credentials file, expired ones too.

        Args:
            stored: the credentials that the file holds under our mark, by profile.
        """
        with self._lock:
            for profile, credentials in stored.items():
                definition = self._definitions.get(profile)
                if definition is None or not is_session_of(definition, credentials):
                    continue
                if self.get(profile) is None:
                    self._load(definition, credentials)

    def adopt(self, definition: ProfileDefinition, credentials: Credentials) -> bool:
        """Adopt a session that another process has written, if it lasts longer than ours.

        Returns:
            Whether it was adopted: it lasts longer, and is of this very role.
        """
        with self._lock:
            known = self.get(definition.profile)
            if not is_session_of(definition, credentials) or (
                known is not None and credentials.expiration <= known.credentials.expiration
            ):
                return False
            self._load(definition, credentials)
            return True

    def add(self, definition: ProfileDefinition, session: RoleSession) -> None:
        """Record a session that STS has just issued; it is not in the file yet."""
        with self._lock:
            # A reload may have changed the definition while the call was under way.
            if _is_current(self._definitions, definition):
                record = self._records.get(definition.profile, _EMPTY)
                self._records[definition.profile] = replace(record, session=session)

    def mark_stored(self, definition: ProfileDefinition, session: RoleSession) -> bool:
        """Record that a session is where its readers look for it.

        Returns:
            Whether it is a new one, and not the one that they had before.
        """
        is_in_file = definition.store is StorageMode.FILE
        session = replace(session, is_stored=is_in_file)
        key = session.credentials.access_key_id
        with self._lock:
            record = self._records.get(definition.profile, _EMPTY)
            if _is_current(self._definitions, definition):
                # It may have been confirmed while it was being written.
                if record.session is not None:
                    session = _retimed(session, record.session) or session
                self._records[definition.profile] = replace(
                    record,
                    session=session,
                    in_file=session if is_in_file else None,
                    delivered_key=key,
                )
        return record.delivered_key != key

    def mark_unstored(self, profile: str) -> None:
        """Record that the file does not hold the profile's session any more."""
        with self._lock:
            record = self._records.get(profile, _EMPTY)
            if record.session is not None:
                session = replace(record.session, is_stored=False)
                self._records[profile] = replace(record, session=session)

    def is_removed(self, profile: str) -> bool:
        """Whether a profile that is kept in memory only is not in the file."""
        return self._records.get(profile, _EMPTY).is_removed

    def mark_removed(self, profile: str, *, is_removed: bool) -> None:
        """Record whether a profile that is kept in memory only is not in the file."""
        with self._lock:
            record = self._records.get(profile, _EMPTY)
            self._records[profile] = replace(record, is_removed=is_removed)

    def get(self, profile: str) -> RoleSession | None:
        """Return the newest session of a profile, expired or not; None if there is none."""
        return self._records.get(profile, _EMPTY).session

    def visible(self, definition: ProfileDefinition) -> RoleSession | None:
        """Return the session that readers of a profile find; None if there is none.

        A session that could not be written yet is not the one that they find.
        """
        record = self._records.get(definition.profile, _EMPTY)
        session = record.session
        if session is None or session.is_stored or definition.store is StorageMode.MEMORY:
            return session
        return record.in_file

    def unstored(self, definition: ProfileDefinition) -> RoleSession | None:
        """Return a session that only has to be written, not assumed again; None if there is none.

        A session that is due for refresh is not worth writing.
        """
        session = self.get(definition.profile)
        if session is None or self.is_stored_correctly(definition):
            return None
        due_in = _due_in(definition, session, self._clock.boottime(), jitter=0)
        return session if due_in > ZERO else None

    def remaining(self, profile: str) -> timedelta:
        """Return how long a profile's session still lasts; zero or less if there is none."""
        session = self.get(profile)
        if session is None:
            return ZERO
        return timedelta(seconds=session.expires_at - self._clock.boottime())

    def is_stored_correctly(self, definition: ProfileDefinition) -> bool:
        """Whether a profile's session, expired or not, is where its readers look for it."""
        record = self._records.get(definition.profile, _EMPTY)
        if record.session is None:
            return False
        if definition.store is StorageMode.FILE:
            return record.session.is_stored
        return not record.session.is_stored and record.is_removed

    def due_in(self, definition: ProfileDefinition, *, jitter: float) -> timedelta:
        """Return how long from now a refresh is due; zero or less if it is due now."""
        session = self.get(definition.profile)
        if session is None or not self.is_stored_correctly(definition):
            return ZERO
        return _due_in(definition, session, self._clock.boottime(), jitter=jitter)

    def unconfirmed(self) -> Mapping[str, RoleSession]:
        """Return the sessions from the file that STS has not confirmed yet, by profile."""
        with self._lock:
            found = {name: _unconfirmed(self._records.get(name)) for name in self._unconfirmed}
            sessions = {name: session for name, session in found.items() if session is not None}
            self._unconfirmed = dict.fromkeys(sessions)
            return sessions

    def bound(
        self, profile: str, access_key_id: str, *, now: datetime, at: float, is_confirmed: bool
    ) -> bool:
        """Apply a clock to an unconfirmed session, which never looks longer for it.

        Args:
            profile: its name.
            access_key_id: of the session; another one is left alone.
            now: what the clock showed; aware UTC.
            at: when it did, in seconds of `Clock.boottime()`.
            is_confirmed: it is the clock of STS, which has accepted the session. From then on, no
                other clock is applied.

        Returns:
            Whether the session expires earlier than was known.
        """

        def bounded(session: RoleSession) -> RoleSession:
            expires_at = at + (session.credentials.expiration - now).total_seconds()
            return replace(
                session,
                expires_at=min(session.expires_at, expires_at),
                trusts_wall_clock=not is_confirmed,
            )

        return self._change(profile, access_key_id, bounded)

    def expire(self, profile: str, access_key_id: str) -> None:
        """Record that STS rejects a session, whatever its expiration."""
        now = self._clock.boottime()
        self._change(profile, access_key_id, lambda known: _ended(known, now))

    def _change(
        self, profile: str, access_key_id: str, change: Callable[[RoleSession], RoleSession]
    ) -> bool:
        """Change an unconfirmed session wherever it is; return whether it expires earlier now."""
        with self._lock:
            record = self._records.get(profile, _EMPTY)
            known = _unconfirmed(record)
            if known is None or known.credentials.access_key_id != access_key_id:
                return False
            changed = change(known)
            self._records[profile] = replace(
                record,
                session=_retimed(record.session, changed),
                in_file=_retimed(record.in_file, changed),
            )
            return known.expires_at - changed.expires_at > _MIN_CORRECTION_SECONDS

    def _load(self, definition: ProfileDefinition, credentials: Credentials) -> None:
        remaining = credentials.expiration - self._clock.now()
        session = RoleSession(
            credentials=credentials,
            expires_at=self._clock.boottime() + remaining.total_seconds(),
            lifetime=timedelta(seconds=definition.duration_seconds),
            is_stored=True,
            trusts_wall_clock=True,
        )
        self._unconfirmed[definition.profile] = None
        self._records[definition.profile] = replace(
            self._records.get(definition.profile, _EMPTY),
            session=session,
            in_file=session,
            delivered_key=credentials.access_key_id,
        )


def is_session_of(definition: ProfileDefinition, credentials: Credentials) -> bool:
    """Whether credentials are of this very role and session name.

    Never if the profile assumes no role: the file does not say which source they were of.

    Source: the assumed-role ARN in the IAM user guide's "IAM identifiers": it has the role's
    name, not its path.
    """
    if definition.role_arn is None:
        return False
    expected = str(Arn.parse(definition.role_arn).session(definition.role_session_name))
    return credentials.principal_arn == expected


def _carried_over(
    record: _Record, before: ProfileDefinition | None, now: ProfileDefinition
) -> _Record:
    """Return the record of a profile under its new definition."""
    session = record.session
    if session is None:
        return record
    if now.role_arn is None:
        is_same = before is not None and now.is_same_call(before)
    else:
        is_same = is_session_of(now, session.credentials)
    return record if is_same else replace(record, session=None, in_file=None)


def _due_in(
    definition: ProfileDefinition, session: RoleSession, now: float, *, jitter: float
) -> timedelta:
    return refresh_due_in(
        timedelta(seconds=session.expires_at - now),
        lifetime=session.lifetime,
        refresh_before=definition.refresh_before,
        jitter=jitter,
    )


def _is_current(
    definitions: Mapping[str, ProfileDefinition], definition: ProfileDefinition
) -> bool:
    current = definitions.get(definition.profile)
    return current is not None and current.is_same_call(definition)


def _unconfirmed(record: _Record | None) -> RoleSession | None:
    """Return the session of a record that STS has not confirmed; None if there is none."""
    if record is None:
        return None
    sessions = (record.session, record.in_file)
    return next((found for found in sessions if found and found.trusts_wall_clock), None)


def _ended(session: RoleSession, now: float) -> RoleSession:
    ended_at = min(session.expires_at, now)
    return replace(session, expires_at=ended_at, trusts_wall_clock=False)


def _retimed(session: RoleSession | None, changed: RoleSession) -> RoleSession | None:
    """Return a session with the times of `changed`, if it is the same one."""
    if session is None or not session.credentials.is_same_as(changed.credentials):
        return session
    return replace(
        session, expires_at=changed.expires_at, trusts_wall_clock=changed.trusts_wall_clock
    )
