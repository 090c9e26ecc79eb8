"""The events that hooks and metrics observe."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique

from assumed.models import Failure


@unique
class EventType(StrEnum):
    """The kinds of events; the values are those of `ASSUMED_EVENT`."""

    REFRESHED = "refreshed"
    """There is a new session."""
    RECOVERED = "recovered"
    """A refresh succeeded after failures."""
    FAILED = "failed"
    """A refresh failed."""
    NEEDS_LOGIN = "needs-login"
    """A refresh failed, and will fail until the user logs in."""
    LOGIN_EXPIRES_SOON = "login-expires-soon"
    """The MFA session that a profile depends on expires within two hours."""
    EXPIRED = "expired"
    """The session has expired, and no refresh has succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEvent:
    """An event of one profile.

    Args:
        event_type: its kind.
        profile: the name of the profile.
        role_arn: of that profile; None if it assumes no role.
        expires_at: the expiration of its session, or of the login that expires soon; aware UTC, by
            the clock of STS; None if there is none.
        failure: why the last refresh failed.
        is_repeat: there was the same event since the last successful refresh.
        late: from the moment when the refresh was due until it was done, with all failed attempts.
    """

    event_type: EventType
    profile: str
    role_arn: str | None
    expires_at: datetime | None
    failure: Failure | None = None
    is_repeat: bool = False
    late: timedelta | None = None
