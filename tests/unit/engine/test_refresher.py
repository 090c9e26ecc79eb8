from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from assumed.engine.refresher import Refresher
from assumed.errors import (
    AssumeRoleDeniedError,
    CredentialsFileUnwritableError,
    LongTermKeysError,
    ParentNotReadyError,
    SourceMissingError,
    SourceUnavailableError,
    StsUnavailableError,
)
from assumed.models import (
    ProfileDefinition,
    RoleSession,
    SourceCredentials,
    SourceProfile,
    TemporaryCredentials,
)
from tests.fakes import (
    LONG_TERM,
    NOON,
    FakeClock,
    FakeSources,
    FakeSts,
    ProfilesInMemory,
    role,
)

HOUR = timedelta(hours=1)
DEPLOY = role("deploy")


class Bench:
    def __init__(self, *definitions: ProfileDefinition) -> None:
        self.clock = FakeClock()
        self.sts = FakeSts(self.clock)
        self.store = ProfilesInMemory()
        self.sources = FakeSources("keys")
        self.refresher = Refresher(
            clock=self.clock, sources=self.sources, sts=self.sts, store=self.store
        )
        self.refresher.set_definitions(
            {definition.profile: definition for definition in definitions}
        )

    def refresh(self, definition: ProfileDefinition) -> RoleSession:
        """Take all steps of a refresh, as the scheduler does."""
        sessions = self.refresher.sessions
        session = sessions.unstored(definition)
        if session is None:
            session = self.refresher.assume(definition, self.refresher.prepare(definition))
        self.refresher.store_session(definition, session).result()
        sessions.mark_stored(definition, session)
        return session


def test_a_refresh_ends_with_the_session_in_the_file() -> None:
    bench = Bench(DEPLOY)
    session = bench.refresh(DEPLOY)
    assert bench.store.profiles["deploy"] == session.credentials
    assert bench.refresher.sessions.is_stored_correctly(DEPLOY)
    assert bench.refresher.sessions.remaining("deploy") == HOUR
    assert bench.sts.calls == [(DEPLOY, LONG_TERM)]


def test_given_a_live_session_when_sts_fails_then_the_profile_keeps_it() -> None:
    bench = Bench(DEPLOY)
    bench.refresh(DEPLOY)
    before = dict(bench.store.profiles)
    bench.clock.advance(timedelta(minutes=45))
    bench.sts.failures.append(StsUnavailableError("no answer", hint="wait"))
    with pytest.raises(StsUnavailableError):
        bench.refresh(DEPLOY)
    assert bench.store.profiles == before
    assert bench.refresher.sessions.remaining("deploy") == timedelta(minutes=15)


@pytest.mark.parametrize("skew", [timedelta(days=-1), timedelta(hours=3)])
def test_a_lifetime_is_measured_by_the_clock_of_sts_not_by_the_wall_clock(skew: timedelta) -> None:
    bench = Bench(DEPLOY)
    bench.sts.skew = skew
    bench.refresh(DEPLOY)
    bench.clock.step_wall_clock(timedelta(hours=-7))
    assert bench.refresher.sessions.remaining("deploy") == HOUR


def test_a_wrong_date_does_not_make_a_session_longer_than_requested() -> None:
    bench = Bench(role("deploy", region="eu-west-1"))
    bench.sts.wrong_dates["eu-west-1"] = -9 * HOUR
    session = bench.refresh(role("deploy", region="eu-west-1"))
    assert session.lifetime == HOUR
    assert bench.refresher.sessions.remaining("deploy") == HOUR


def test_a_late_answer_does_not_make_a_session_look_longer() -> None:
    bench = Bench(DEPLOY)
    bench.sts.during_call = lambda _: bench.clock.advance(timedelta(seconds=-3))
    bench.clock.advance(timedelta(seconds=10))
    asked_at = bench.clock.boottime()
    session = bench.refresh(DEPLOY)
    assert session.expires_at == asked_at + HOUR.total_seconds()


def test_a_chained_profile_is_assumed_with_the_session_of_its_parent() -> None:
    child = role("child", parent="deploy")
    bench = Bench(DEPLOY, child)
    parent = bench.refresh(DEPLOY).credentials
    bench.refresh(child)
    _, caller = bench.sts.calls[-1]
    assert (caller.access_key_id, caller.session_token) == (
        parent.access_key_id,
        parent.session_token,
    )


@pytest.mark.parametrize("is_expired", [False, True])
def test_a_chained_profile_without_a_valid_parent_makes_no_call(is_expired: bool) -> None:
    child = role("child", parent="deploy")
    bench = Bench(DEPLOY, child)
    if is_expired:
        bench.refresh(DEPLOY)
        bench.clock.advance(HOUR)
    calls = bench.sts.number
    with pytest.raises(ParentNotReadyError):
        bench.refresh(child)
    assert bench.sts.number == calls


def test_a_session_that_could_not_be_written_is_written_later_without_another_call() -> None:
    bench = Bench(DEPLOY)
    bench.store.failures.append(CredentialsFileUnwritableError("disk full", hint="make room"))
    with pytest.raises(CredentialsFileUnwritableError):
        bench.refresh(DEPLOY)
    held = bench.refresher.sessions.get("deploy")
    assert held is not None
    assert bench.refresher.sessions.due_in(DEPLOY, jitter=0) == timedelta(0)

    bench.refresh(DEPLOY)
    assert bench.sts.number == 1
    assert bench.store.profiles["deploy"] == held.credentials


def test_a_session_that_could_not_be_written_for_too_long_is_replaced() -> None:
    bench = Bench(DEPLOY)
    bench.store.failures.append(CredentialsFileUnwritableError("disk full", hint="make room"))
    with pytest.raises(CredentialsFileUnwritableError):
        bench.refresh(DEPLOY)
    bench.clock.advance(timedelta(minutes=50))
    bench.refresh(DEPLOY)
    assert bench.sts.number == 2


def test_a_session_of_another_role_is_forgotten_when_the_definition_changes() -> None:
    bench = Bench(DEPLOY)
    bench.refresh(DEPLOY)
    changed = role("deploy", role_arn="arn:aws:iam::111122223333:role/another")
    bench.refresher.set_definitions({"deploy": changed})
    assert bench.refresher.sessions.get("deploy") is None


def test_an_answer_for_a_definition_that_has_changed_is_not_kept() -> None:
    bench = Bench(DEPLOY)
    changed = role("deploy", external_id="new")
    bench.sts.during_call = lambda _: bench.refresher.set_definitions({"deploy": changed})
    bench.refresh(DEPLOY)
    assert bench.refresher.sessions.get("deploy") is None


def test_a_missing_source_is_an_error_before_any_call() -> None:
    lost = role("lost", parent=None)
    bench = Bench(lost)
    bench.refresher = Refresher(
        clock=bench.clock, sources=FakeSources(), sts=bench.sts, store=bench.store
    )
    bench.refresher.set_definitions({"lost": lost})
    with pytest.raises(SourceMissingError):
        bench.refresh(lost)
    assert bench.sts.number == 0


def test_a_denial_leaves_no_session() -> None:
    bench = Bench(DEPLOY)
    bench.sts.failures.append(AssumeRoleDeniedError("no", hint="ask"))
    with pytest.raises(AssumeRoleDeniedError):
        bench.refresh(DEPLOY)
    assert bench.refresher.sessions.get("deploy") is None


OWN = role("own", role_arn=None)


def own(number: int, expiration: datetime) -> TemporaryCredentials:
    return TemporaryCredentials(f"ASIAOWN{number}", "own-secret", "own-token", expiration)


def test_without_a_role_the_sources_own_credentials_are_copied_and_named_by_sts() -> None:
    bench = Bench(OWN)
    bench.sources.known["keys"].own = own(1, NOON + HOUR)
    session = bench.refresh(OWN)
    stored = bench.store.profiles["own"]
    assert stored == session.credentials
    assert (stored.access_key_id, stored.session_token) == ("ASIAOWN1", "own-token")
    assert stored.principal_arn == "arn:aws:sts::111122223333:assumed-role/own/ASIAOWN1"
    assert bench.refresher.sessions.remaining("own") == HOUR

    bench.refresh(OWN)
    assert bench.sources.known["keys"].replaced == [None, "ASIAOWN1"]


def test_long_term_keys_are_never_copied() -> None:
    bench = Bench(OWN)
    with pytest.raises(LongTermKeysError):
        bench.refresh(OWN)
    assert bench.store.profiles == {}
    assert bench.sts.number == 0


def test_a_source_that_returns_the_same_credentials_again_is_not_asked_in_their_last_minute() -> (
    None
):
    bench = Bench(OWN)
    bench.sources.known["keys"].own = own(1, NOON + timedelta(minutes=20))
    waits = []
    while True:
        try:
            bench.refresh(OWN)
        except SourceUnavailableError:
            break
        waits.append(bench.refresher.sessions.due_in(OWN, jitter=0))
        bench.clock.advance(waits[-1])
    assert len(waits) < 8
    assert min(waits) > timedelta(seconds=30)


def test_copied_credentials_are_forgotten_with_their_source_and_not_read_from_the_file() -> None:
    bench = Bench(OWN)
    bench.sources.known["keys"].own = own(1, NOON + HOUR)
    credentials = bench.refresh(OWN).credentials
    bench.refresher.set_definitions({"own": replace(OWN, overwrite=True)})
    assert bench.refresher.sessions.get("own") is not None
    other = replace(OWN, source=SourceProfile("others"))
    bench.refresher.set_definitions({"own": other})
    bench.refresher.sessions.load_stored_sessions({"own": credentials})
    assert bench.refresher.sessions.get("own") is None


def test_a_role_is_chained_to_copied_credentials() -> None:
    child = role("child", parent="own")
    bench = Bench(OWN, child)
    bench.sources.known["keys"].own = own(1, NOON + HOUR)
    bench.refresh(OWN)
    bench.refresh(child)
    assert bench.sts.calls[-1] == (
        child,
        SourceCredentials("ASIAOWN1", "own-secret", "own-token"),
    )
