"""Logins with an MFA code: for a session that roles share, or for one role session."""

from __future__ import annotations

from collections.abc import Callable

from assumed.engine.event_log import EventLog
from assumed.engine.mfa_sessions import MfaSessionMonitor
from assumed.engine.refresher import Refresher
from assumed.errors import RefreshFailedError, UsageError
from assumed.models import Login, MfaCode, Outcome, ProfileDefinition


class LoginHandler:
    """Uses the codes that a user enters; safe to use from many threads.

    Args:
        refresher: has the MFA sessions.
        mfa: is kept up to date.
        events: where a login is logged.
        refresh: refreshes a profile, also if it is fresh, and waits for the outcome.
    """

    def __init__(
        self,
        refresher: Refresher,
        mfa: MfaSessionMonitor,
        events: EventLog,
        refresh: Callable[[str], Outcome],
    ) -> None:
        self._refresher = refresher
        self._mfa = mfa
        self._events = events
        self._refresh = refresh

    def log_in(self, definition: ProfileDefinition, code: str) -> Login:
        """Use a code for what a profile depends on, also through a chain.

        Raises:
            UsageError: the profile needs no code; not a code.
            AssumedError: STS rejects the code or cannot be reached, or there are no keys.
        """
        if (source := self._refresher.mfa_code(definition)) is not None:
            return self._assume_with(source, code)
        session = self._refresher.mfa_session(definition)
        if session is None:
            raise UsageError(
                f"profile {definition.profile} has no mfa_serial: it needs no code",
                hint="see `assumed status` for what it needs",
            )
        expires_at = self._refresher.logins.start(session, code)
        self._mfa.read_one(session)
        login = Login(profile=definition.profile, mfa_serial=session.serial, expires_at=expires_at)
        self._events.login_succeeded(login, session)
        self._events.publish()
        return login

    def _assume_with(self, source: MfaCode, code: str) -> Login:
        """Refresh the profile whose AssumeRole call carries the code."""
        self._refresher.logins.supply(source, code)
        outcome = self._refresh(source.owner)
        if outcome.failure is not None:
            failure = outcome.failure
            raise RefreshFailedError(failure.message, hint=failure.hint, code=failure.code)
        assert outcome.expires_at is not None  # noqa: S101 - it has a session
        return Login(profile=source.owner, mfa_serial=source.serial, expires_at=outcome.expires_at)
