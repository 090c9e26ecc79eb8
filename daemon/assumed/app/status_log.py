"""The state of the daemon in its log, for SIGUSR1."""

from __future__ import annotations

import logging

from assumed.logs import event
from assumed.models import ProfileState, Status


def log_status(status: Status) -> None:
    """Log one event for the daemon and one for each profile."""
    profiles = status.profiles
    event(
        logging.INFO,
        "daemon_state",
        profiles=len(profiles),
        valid=sum(profile.state is ProfileState.VALID for profile in profiles),
        config_error=status.daemon and status.daemon.config_error,
        log_error=status.daemon and status.daemon.log_error,
        local_fault=status.daemon and status.daemon.local_fault,
    )
    for profile in profiles:
        error = profile.last_error
        event(
            logging.INFO,
            "profile_state",
            profile=profile.profile,
            state=profile.state,
            expires_at=profile.expires_at,
            next_attempt_at=profile.next_attempt_at,
            waiting_for=profile.waiting_for,
            waiting_seconds=profile.waiting_seconds,
            failures=profile.consecutive_failures or None,
            error_code=error and error.code,
            error=error and error.message,
        )
