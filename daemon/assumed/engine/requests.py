"""Requests to the scheduler for one profile, and their answers."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from assumed.engine.refresh_policy import ZERO
from assumed.engine.session_store import SessionStore
from assumed.errors import RefreshFailedError, UsageError
from assumed.models import Credentials, Failure, Outcome, ProfileDefinition, RoleSession

# A session that could not be refreshed is handed out while it has more than this remaining.
_MIN_SERVED = timedelta(minutes=1)

ResultT = TypeVar("ResultT")


def _running() -> Future[ResultT]:
    """Return a future that cannot be cancelled: the refresh goes on when a client gives up."""
    future: Future[ResultT] = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(frozen=True, slots=True, eq=False)
class RefreshRequest:
    """Asks for a refresh of one profile.

    Args:
        profile: its name.
        force: refresh it even if it is fresh.
        min_left: it is fresh if its session has this much remaining; None if it is not due.
        persists: wait for the retries while a failure `is_temporary`.
        future: the outcome.
    """

    profile: str
    force: bool
    min_left: timedelta | None
    persists: bool = False
    future: Future[Outcome] = field(default_factory=_running)

    def is_satisfied(
        self, definition: ProfileDefinition, failure: Failure | None, sessions: SessionStore
    ) -> bool:
        """Whether it can be answered without a refresh."""
        if self.force:
            return False
        if self.min_left is None:
            return failure is None and sessions.due_in(definition, jitter=0) > ZERO
        is_there = sessions.is_stored_correctly(definition)
        return is_there and sessions.remaining(self.profile) >= self.min_left

    def answer(
        self, sessions: SessionStore, failure: Failure | None = None, *, was_fresh: bool = False
    ) -> None:
        """Complete the future; runs the callbacks of the client."""
        session = sessions.get(self.profile)
        self.future.set_result(
            Outcome(
                profile=self.profile,
                was_fresh=was_fresh,
                expires_at=session.credentials.expiration if session else None,
                failure=failure,
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class CredentialsRequest:
    """Asks for the credentials of one profile, refreshed first if too little remains of them.

    Args:
        profile: its name.
        min_left: how long they must still last. At most half of the lifetime counts, so that
            a client that wants 20 minutes of a session of 15 does not cause a call each time.
        persists: wait for the retries while a failure `is_temporary`.
        future: the credentials.
    """

    profile: str
    min_left: timedelta
    persists: bool = False
    future: Future[Credentials] = field(default_factory=_running)

    def is_satisfied(
        self,
        definition: ProfileDefinition,
        failure: Failure | None,
        sessions: SessionStore,
    ) -> bool:
        """Whether it can be answered without a refresh."""
        session = sessions.get(self.profile)
        if session is None:
            return False
        remaining, min_served = sessions.remaining(self.profile), _min_served(session)
        if failure is not None and remaining > min_served:
            # A retry is scheduled already; a call for each request would not help.
            return True
        return remaining >= max(min(self.min_left, session.lifetime / 2), min_served)

    def answer(
        self, sessions: SessionStore, failure: Failure | None = None, *, was_fresh: bool = False
    ) -> None:
        """Complete the future; runs the callbacks of the client."""
        session = sessions.get(self.profile)
        if session is not None and (
            was_fresh or sessions.remaining(self.profile) > _min_served(session)
        ):
            self.future.set_result(session.credentials)
        elif failure is not None:
            error = RefreshFailedError(
                f"profile {self.profile}: {failure.message}", hint=failure.hint, code=failure.code
            )
            self.future.set_exception(error)
        else:
            self.future.set_exception(
                RefreshFailedError(
                    f"profile {self.profile} has no session", hint="try again", code=UsageError.code
                )
            )


ProfileRequest = RefreshRequest | CredentialsRequest


def no_longer_refreshed(at: datetime) -> Failure:
    """Return the failure of a request for a profile that was removed, or disabled."""
    return Failure(
        code=UsageError.code,
        message="the profile is no longer refreshed",
        hint="it was removed from the configuration, or disabled there, or the daemon is stopping",
        at=at,
    )


def _min_served(session: RoleSession) -> timedelta:
    # A fraction for sessions of seconds, such as those of an embedded AWS.
    return min(_MIN_SERVED, session.lifetime / 10)
