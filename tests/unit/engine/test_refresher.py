from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from assumed.engine.refresher import Refresher, is_session_of
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
    issued,
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
        self.refresher.define({definition.profile: definition for definition in definitions})


def test_a_refresh_ends_with_the_session_in_the_file() -> None:
    bench = Bench(DEPLOY)
    session = bench.refresher.refresh(DEPLOY).result()
    assert bench.store.profiles["deploy"] == session.credentials
    assert session.is_stored
    assert bench.refresher.left("deploy") == HOUR
    assert bench.sts.calls == [(DEPLOY, LONG_TERM)]


def test_given_a_live_session_when_sts_fails_then_the_profile_keeps_it() -> None:
    bench = Bench(DEPLOY)
    bench.refresher.refresh(DEPLOY).result()
    before = dict(bench.store.profiles)
    bench.clock.advance(timedelta(minutes=45))
    bench.sts.failures.append(StsUnavailableError("no answer", hint="wait"))
    with pytest.raises(StsUnavailableError):
        bench.refresher.refresh(DEPLOY).result()
    assert bench.store.profiles == before
    assert bench.refresher.left("deploy") == timedelta(minutes=15)


@pytest.mark.parametrize("skew", [timedelta(days=-1), timedelta(hours=3)])
def test_a_lifetime_is_told_by_the_clock_of_sts_and_not_by_the_wall(skew: timedelta) -> None:
    bench = Bench(DEPLOY)
    bench.sts.skew = skew
    bench.refresher.refresh(DEPLOY).result()
    bench.clock.step_wall_clock(timedelta(hours=-7))
    assert bench.refresher.left("deploy") == HOUR


def test_a_session_is_never_taken_for_longer_than_it_is_when_the_answer_comes_late() -> None:
    bench = Bench(DEPLOY)
    bench.sts.during_call = lambda _: bench.clock.advance(timedelta(seconds=-3))
    bench.clock.advance(timedelta(seconds=10))
    asked_at = bench.clock.boottime()
    session = bench.refresher.refresh(DEPLOY).result()
    assert session.expires_at == asked_at + HOUR.total_seconds()


def test_a_chained_profile_is_assumed_with_the_session_of_its_parent() -> None:
    child = role("child", parent="deploy")
    bench = Bench(DEPLOY, child)
    parent = bench.refresher.refresh(DEPLOY).result().credentials
    bench.refresher.refresh(child).result()
    _, caller = bench.sts.calls[-1]
    assert (caller.access_key_id, caller.session_token) == (
        parent.access_key_id,
        parent.session_token,
    )


@pytest.mark.parametrize("is_expired", [False, True])
def test_without_a_valid_parent_a_chained_profile_calls_nobody(is_expired: bool) -> None:
    child = role("child", parent="deploy")
    bench = Bench(DEPLOY, child)
    if is_expired:
        bench.refresher.refresh(DEPLOY).result()
        bench.clock.advance(HOUR)
    calls = bench.sts.number
    with pytest.raises(ParentNotReadyError):
        bench.refresher.refresh(child).result()
    assert bench.sts.number == calls


def test_what_could_not_be_written_is_written_later_with_no_further_call() -> None:
    bench = Bench(DEPLOY)
    bench.store.failures.append(CredentialsFileUnwritableError("disk full", hint="make room"))
    with pytest.raises(CredentialsFileUnwritableError):
        bench.refresher.refresh(DEPLOY).result()
    held = bench.refresher.session("deploy")
    assert held is not None
    assert bench.refresher.due_in(DEPLOY, jitter=0) == timedelta(0)

    bench.refresher.refresh(DEPLOY).result()
    assert bench.sts.number == 1
    assert bench.store.profiles["deploy"] == held.credentials


def test_what_could_not_be_written_for_too_long_is_assumed_anew() -> None:
    bench = Bench(DEPLOY)
    bench.store.failures.append(CredentialsFileUnwritableError("disk full", hint="make room"))
    with pytest.raises(CredentialsFileUnwritableError):
        bench.refresher.refresh(DEPLOY).result()
    bench.clock.advance(timedelta(minutes=50))
    bench.refresher.refresh(DEPLOY).result()
    assert bench.sts.number == 2


def test_a_session_in_the_file_is_kept_where_it_is_of_this_very_role_and_session_name() -> None:
    other = role("other", role_session_name="somebody-else")
    bench = Bench(DEPLOY, role("other"))
    expiration = NOON + timedelta(minutes=50)
    bench.refresher.keep(
        {
            "deploy": issued(DEPLOY, expiration),
            "other": issued(other, expiration),
            "gone": issued(role("gone"), expiration),
        }
    )
    assert bench.refresher.left("deploy") == timedelta(minutes=50)
    assert bench.refresher.session("other") is None
    assert bench.refresher.session("gone") is None


def test_a_kept_session_is_corrected_once_sts_has_told_its_time() -> None:
    bench = Bench(DEPLOY, role("other"))
    bench.refresher.keep({"deploy": issued(DEPLOY, NOON + timedelta(minutes=50))})
    bench.sts.skew = timedelta(minutes=20)
    bench.refresher.refresh(role("other")).result()
    assert bench.refresher.left("deploy") == timedelta(minutes=30)
    assert bench.refresher.take_corrected() == ("deploy",)
    assert bench.refresher.take_corrected() == ()


def test_a_session_of_another_role_is_forgotten_when_the_definition_changes() -> None:
    bench = Bench(DEPLOY)
    bench.refresher.refresh(DEPLOY).result()
    changed = role("deploy", role_arn="arn:aws:iam::111122223333:role/another")
    bench.refresher.define({"deploy": changed})
    assert bench.refresher.session("deploy") is None


def test_an_answer_that_comes_after_the_definition_changed_is_not_held() -> None:
    bench = Bench(DEPLOY)
    changed = role("deploy", external_id="new")
    bench.sts.during_call = lambda _: bench.refresher.define({"deploy": changed})
    bench.refresher.refresh(DEPLOY).result()
    assert bench.refresher.session("deploy") is None


def test_a_source_that_is_nowhere_is_told_before_any_call() -> None:
    lost = role("lost", parent=None)
    bench = Bench(lost)
    bench.refresher = Refresher(
        clock=bench.clock, sources=FakeSources(), sts=bench.sts, store=bench.store
    )
    bench.refresher.define({"lost": lost})
    with pytest.raises(SourceMissingError):
        bench.refresher.refresh(lost).result()
    assert bench.sts.number == 0


def test_a_refusal_leaves_no_session() -> None:
    bench = Bench(DEPLOY)
    bench.sts.failures.append(AssumeRoleDeniedError("no", hint="ask"))
    with pytest.raises(AssumeRoleDeniedError):
        bench.refresher.refresh(DEPLOY).result()
    assert bench.refresher.session("deploy") is None


def test_a_role_with_a_path_is_known_by_its_name_alone() -> None:
    definition = role("deploy", role_arn="arn:aws:iam::111122223333:role/team/ci/deployer")
    credentials = issued(definition, NOON)
    assert ":assumed-role/deployer/" in credentials.principal_arn
    assert is_session_of(definition, credentials)


OWN = role("own", role_arn=None)


def own(number: int, expiration: datetime) -> TemporaryCredentials:
    return TemporaryCredentials(f"ASIAOWN{number}", "own-secret", "own-token", expiration)


def test_with_no_role_the_sources_own_credentials_are_kept_and_named_by_sts() -> None:
    bench = Bench(OWN)
    bench.sources.known["keys"].own = own(1, NOON + HOUR)
    session = bench.refresher.refresh(OWN).result()
    stored = bench.store.profiles["own"]
    assert stored == session.credentials
    assert (stored.access_key_id, stored.session_token) == ("ASIAOWN1", "own-token")
    assert stored.principal_arn == "arn:aws:sts::111122223333:assumed-role/own/ASIAOWN1"
    assert bench.refresher.left("own") == HOUR

    bench.refresher.refresh(OWN).result()
    assert bench.sources.known["keys"].replaced == [None, "ASIAOWN1"]


def test_long_term_keys_are_never_copied() -> None:
    bench = Bench(OWN)
    with pytest.raises(LongTermKeysError):
        bench.refresher.refresh(OWN).result()
    assert bench.store.profiles == {}
    assert bench.sts.number == 0


def test_a_source_that_gives_the_same_again_is_asked_ever_later_and_not_in_the_last_minute() -> (
    None
):
    bench = Bench(OWN)
    bench.sources.known["keys"].own = own(1, NOON + timedelta(minutes=20))
    waits = []
    while True:
        try:
            bench.refresher.refresh(OWN).result()
        except SourceUnavailableError:
            break
        waits.append(bench.refresher.due_in(OWN, jitter=0))
        bench.clock.advance(waits[-1])
    assert len(waits) < 8
    assert min(waits) > timedelta(seconds=30)


def test_own_credentials_are_forgotten_when_their_source_changes_and_not_read_from_the_file() -> (
    None
):
    bench = Bench(OWN)
    bench.sources.known["keys"].own = own(1, NOON + HOUR)
    credentials = bench.refresher.refresh(OWN).result().credentials
    bench.refresher.define({"own": replace(OWN, overwrite=True)})
    assert bench.refresher.session("own") is not None
    other = replace(OWN, source=SourceProfile("others"))
    bench.refresher.define({"own": other})
    bench.refresher.keep({"own": credentials})
    assert bench.refresher.session("own") is None


def test_a_role_is_chained_to_own_credentials() -> None:
    child = role("child", parent="own")
    bench = Bench(OWN, child)
    bench.sources.known["keys"].own = own(1, NOON + HOUR)
    bench.refresher.refresh(OWN).result()
    bench.refresher.refresh(child).result()
    assert bench.sts.calls[-1] == (
        child,
        SourceCredentials("ASIAOWN1", "own-secret", "own-token"),
    )
