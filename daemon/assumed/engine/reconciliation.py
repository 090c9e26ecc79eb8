"""What follows from a credentials file that another program has changed."""

from __future__ import annotations

from collections.abc import Mapping

from assumed.engine.event_log import EventLog
from assumed.engine.internal_errors import Part
from assumed.engine.profile_state import ScheduledProfile
from assumed.engine.refresh_policy import ZERO
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.session_store import SessionStore
from assumed.models import Credentials


def reconcile(
    stored: Mapping[str, Credentials] | None,
    queue: RefreshQueue,
    sessions: SessionStore,
    events: EventLog,
) -> None:
    """Adopt or undo what another program has changed in the file; called under the lock.

    Args:
        stored: the credentials with our mark that the file holds; None if it can't be read.
        queue: the profiles.
        sessions: of all profiles.
        events: where it is logged.
    """
    for profile in queue.profiles.values():
        with events.errors.caught(Part.REFRESH, profile=profile.name):
            found = None if stored is None else stored.get(profile.name)
            if not _is_changed(profile, found, sessions):
                continue
            if found is not None and sessions.adopt(profile.definition, found):
                queue.schedule_refresh(profile)
            elif sessions.remaining(profile.name) > ZERO:
                sessions.mark_unstored(profile.name)
                if stored is not None:
                    events.overwritten(profile)
                queue.schedule_restore(profile)


def _is_changed(
    profile: ScheduledProfile, found: Credentials | None, sessions: SessionStore
) -> bool:
    """Whether the file has something else than was written, and no write is under way."""
    session = sessions.get(profile.name)
    if session is None or not session.is_stored or profile.in_flight:
        return False
    is_unchanged = found is not None and found.is_same_as(session.credentials)
    return not is_unchanged and profile.definition.enabled
