"""A daemon for the tests of the API socket: it has two profiles and records its calls."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

from assumed.errors import AssumedError, MfaCodeRejectedError, RefreshFailedError, UsageError
from assumed.models import (
    Credentials,
    DaemonStatus,
    EndpointAddress,
    Failure,
    Login,
    Outcome,
    ProfileState,
    ProfileStatus,
    Status,
)
from tests.fakes import NOON

HOUR = timedelta(hours=1)

FAILURE = Failure(code="AccessDenied", message="no", hint="ask", at=NOON)
DEPLOY = ProfileStatus(
    profile="deploy",
    role_arn="arn:aws:iam::111122223333:role/deploy",
    source="profile keys",
    state=ProfileState.FAILING,
    expires_at=NOON + HOUR,
    seconds_left=2710,
    lifetime_seconds=3600,
    refreshed_at=NOON,
    next_attempt_at=NOON + HOUR / 2,
    refreshes=31,
    consecutive_failures=2,
    last_error=FAILURE,
)
FRESH = ProfileStatus(
    profile="fresh",
    role_arn="arn:aws:iam::111122223333:role/fresh",
    source="managed profile deploy",
    state=ProfileState.PENDING,
)
STATUS = Status(
    daemon=DaemonStatus(
        pid=812, version="0.1.0", started_at=NOON, config="config.yaml", config_error="line 3: no"
    ),
    profiles=(DEPLOY, FRESH),
)

CREDENTIALS = Credentials(
    access_key_id="ASIAFRESH",
    secret_access_key="secret/+=",
    session_token="token/+=",
    expiration=NOON + HOUR,
    principal_arn="arn:aws:sts::111122223333:assumed-role/fresh/me",
)


class FakeDaemon:
    def __init__(self) -> None:
        self.calls: list[tuple[tuple[str, ...], bool]] = []
        self.outcomes: dict[str, Future[Outcome]] = {}
        self.failure: AssumedError | None = None
        self.min_left: timedelta | None = None
        self.reloads = 0
        self.is_called = Event()
        for profile, outcome in {
            "deploy": Outcome(profile="deploy", failure=FAILURE),
            "fresh": Outcome(profile="fresh", was_fresh=True, expires_at=NOON + HOUR),
        }.items():
            self.outcomes[profile] = Future()
            self.outcomes[profile].set_result(outcome)

    def status(self, profiles: Sequence[str]) -> Status:
        if self.failure is not None:
            raise self.failure
        wanted = self._known(profiles)
        return replace(
            STATUS, profiles=tuple(row for row in STATUS.profiles if row.profile in wanted)
        )

    def log_in(self, profile: str, code: str) -> Future[Login]:
        self._known([profile])
        future: Future[Login] = Future()
        if code == "000000":
            future.set_exception(
                MfaCodeRejectedError(f"profile {profile}: no", hint="the next one")
            )
        else:
            future.set_result(Login(profile=profile, mfa_serial="a-device", expires_at=NOON))
        return future

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        self._known([profile])
        self.min_left = min_left
        future: Future[Credentials] = Future()
        if profile == "fresh":
            future.set_result(CREDENTIALS)
        else:
            future.set_exception(RefreshFailedError("no", hint="ask", code="AccessDenied"))
        return future

    def endpoint(self, profile: str) -> EndpointAddress:
        self._known([profile])
        return EndpointAddress(url="http://127.0.0.1:1/v1/credentials/fresh", token_file=Path("/t"))

    def metrics(self) -> bytes:
        return b"assumed_build_info 1.0\n"

    def reload(self) -> Future[None]:
        self.reloads += 1
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        self.calls.append((tuple(profiles), force))
        self.min_left = min_left
        self.is_called.set()
        return {profile: self.outcomes[profile] for profile in self._known(profiles)}

    def _known(self, profiles: Sequence[str]) -> Sequence[str]:
        for profile in profiles:
            if profile not in self.outcomes:
                raise UsageError(f"no profile {profile}", hint="see `assumed status`")
        return profiles or tuple(self.outcomes)
