"""What the scheduler tells of the profiles, to whoever wants to know: hooks, metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique

from assumed.models import Failure


@unique
class EventType(StrEnum):
    """What has happened; the values are those of `ASSUMED_EVENT`."""

    REFRESHED = "refreshed"
    """There is a new session."""
    RECOVERED = "recovered"
    """A refresh worked after failures."""
    FAILED = "failed"
    """A refresh failed."""
    NEEDS_LOGIN = "needs-login"
    """A refresh failed, and will until somebody logs in."""
    LOGIN_ENDS_SOON = "login-ends-soon"
    """The MFA session that a profile hangs on ends within two hours."""
    EXPIRED = "expired"
    """The session has ended, and no refresh has worked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEvent:
    """One thing that has happened to one profile.

    Args:
        event_type: what.
        profile: to which.
        role_arn: of that profile; None where no role is assumed.
        expires_at: the end of the session that it has, or of the login that ends soon; aware UTC,
            by STS's clock; None where there is none.
        failure: why the last refresh failed.
        is_repeat: the same has been told since the last refresh that worked.
        late: from the moment when the refresh was due until it was done, failed tries and all.
    """

    event_type: EventType
    profile: str
    role_arn: str | None
    expires_at: datetime | None
    failure: Failure | None = None
    is_repeat: bool = False
    late: timedelta | None = None
