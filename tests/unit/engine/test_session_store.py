"""Which session each profile has, and which one its readers have."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from assumed.engine.session_store import SessionStore, is_session_of
from assumed.models import ProfileDefinition, RoleSession, StorageMode
from tests.fakes import NOON, FakeClock, issued, role
from tests.unit.engine.helpers import DEPLOY, DUE, HOUR, MINUTE, READ

IN_MEMORY = role("deploy", store=StorageMode.MEMORY)


class Bench:
    def __init__(self, *definitions: ProfileDefinition) -> None:
        self.clock = FakeClock()
        self.sessions = SessionStore(self.clock)
        self.define(*definitions)

    def define(self, *definitions: ProfileDefinition) -> None:
        self.sessions.set_definitions({each.profile: each for each in definitions})

    def issue(self, definition: ProfileDefinition, number: int = 1) -> RoleSession:
        """Record a session of an hour as STS issues it."""
        session = RoleSession(
            credentials=issued(definition, self.clock.now() + HOUR, number),
            expires_at=self.clock.boottime() + HOUR.total_seconds(),
            lifetime=HOUR,
        )
        self.sessions.add(definition, session)
        return session

    def visible_key(self, definition: ProfileDefinition) -> str | None:
        session = self.sessions.visible(definition)
        return session.credentials.access_key_id if session else None


class TestVisible:
    def test_readers_keep_the_old_session_until_the_new_one_is_stored(self) -> None:
        bench = Bench(DEPLOY)
        assert bench.sessions.mark_stored(DEPLOY, bench.issue(DEPLOY, 1))
        second = bench.issue(DEPLOY, 2)
        assert bench.visible_key(DEPLOY) == "ASIADEPLOY1"
        assert not bench.sessions.is_stored_correctly(DEPLOY)
        assert bench.sessions.mark_stored(DEPLOY, second)
        assert bench.visible_key(DEPLOY) == "ASIADEPLOY2"
        assert bench.sessions.is_stored_correctly(DEPLOY)

    def test_a_first_session_is_not_visible_before_it_is_stored(self) -> None:
        bench = Bench(DEPLOY)
        bench.issue(DEPLOY)
        assert bench.visible_key(DEPLOY) is None

    def test_a_session_in_memory_is_visible_at_once(self) -> None:
        bench = Bench(IN_MEMORY)
        bench.issue(IN_MEMORY)
        assert bench.visible_key(IN_MEMORY) == "ASIADEPLOY1"

    def test_a_session_in_memory_is_stored_correctly_once_its_profile_is_not_in_the_file(
        self,
    ) -> None:
        bench = Bench(IN_MEMORY)
        session = bench.issue(IN_MEMORY)
        bench.sessions.mark_stored(IN_MEMORY, session)
        assert not bench.sessions.is_stored_correctly(IN_MEMORY)
        bench.sessions.mark_removed("deploy", is_removed=True)
        assert bench.sessions.is_stored_correctly(IN_MEMORY)

    def test_the_session_of_another_role_is_visible_no_longer(self) -> None:
        bench = Bench(DEPLOY)
        bench.sessions.mark_stored(DEPLOY, bench.issue(DEPLOY))
        changed = role("deploy", role_arn="arn:aws:iam::111122223333:role/another")
        bench.define(changed)
        bench.issue(changed, 2)
        assert bench.visible_key(changed) is None


class TestMarkStored:
    def test_a_session_that_is_written_again_is_not_new(self) -> None:
        bench = Bench(DEPLOY)
        session = bench.issue(DEPLOY)
        assert bench.sessions.mark_stored(DEPLOY, session)
        bench.sessions.mark_unstored("deploy")
        assert bench.sessions.unstored(DEPLOY) is not None
        assert not bench.sessions.mark_stored(DEPLOY, session)

    def test_a_session_of_a_definition_that_has_changed_meanwhile_is_forgotten(self) -> None:
        bench = Bench(DEPLOY)
        session = bench.issue(DEPLOY)
        bench.define(role("deploy", role_arn="arn:aws:iam::111122223333:role/another"))
        bench.sessions.mark_stored(DEPLOY, session)
        assert bench.sessions.get("deploy") is None


class TestUnstored:
    def test_it_is_a_session_that_only_has_to_be_written(self) -> None:
        bench = Bench(DEPLOY)
        assert bench.sessions.unstored(DEPLOY) is None
        session = bench.issue(DEPLOY)
        assert bench.sessions.unstored(DEPLOY) == session
        assert bench.sessions.due_in(DEPLOY, jitter=0.5) == timedelta(0)
        bench.sessions.mark_stored(DEPLOY, session)
        assert bench.sessions.unstored(DEPLOY) is None
        assert bench.sessions.due_in(DEPLOY, jitter=0.5) == DUE

    def test_a_session_that_is_due_is_not_worth_writing(self) -> None:
        bench = Bench(DEPLOY)
        bench.issue(DEPLOY)
        bench.clock.advance(50 * MINUTE)
        assert bench.sessions.unstored(DEPLOY) is None


class TestLoadStoredSessions:
    def test_a_session_is_loaded_if_it_is_of_this_very_role_and_session_name(self) -> None:
        other = role("other", role_session_name="another-name")
        bench = Bench(DEPLOY, role("other"))
        expiration = NOON + timedelta(minutes=50)
        bench.sessions.load_stored_sessions(
            {
                "deploy": issued(DEPLOY, expiration),
                "other": issued(other, expiration),
                "gone": issued(role("gone"), expiration),
            }
        )
        assert bench.sessions.remaining("deploy") == timedelta(minutes=50)
        assert bench.sessions.get("other") is None
        assert bench.sessions.get("gone") is None

    def test_a_newer_session_is_not_replaced(self) -> None:
        bench = Bench(DEPLOY)
        bench.issue(DEPLOY, 2)
        bench.sessions.load_stored_sessions({"deploy": issued(DEPLOY, NOON + HOUR, 1)})
        session = bench.sessions.get("deploy")
        assert session is not None
        assert session.credentials.access_key_id == "ASIADEPLOY2"

    def test_a_loaded_session_is_not_new_when_it_is_written_again(self) -> None:
        bench = Bench(DEPLOY)
        bench.sessions.load_stored_sessions({"deploy": issued(DEPLOY, NOON + HOUR)})
        bench.sessions.mark_unstored("deploy")
        session = bench.sessions.unstored(DEPLOY)
        assert session is not None
        assert not bench.sessions.mark_stored(DEPLOY, session)


class TestSessionsOfTheFile:
    """They expire at the earlier of what the wall clock and what STS says."""

    @pytest.fixture
    def bench(self) -> Bench:
        bench = Bench(DEPLOY, READ)
        bench.sessions.load_stored_sessions(
            {
                "deploy": issued(DEPLOY, NOON + 50 * MINUTE),
                "read": issued(READ, NOON + 20 * MINUTE),
            }
        )
        return bench

    def confirm(self, bench: Bench, profile: str, answered_at: datetime) -> bool:
        session = bench.sessions.get(profile)
        assert session is not None
        key, at = session.credentials.access_key_id, bench.clock.boottime()
        return bench.sessions.bound(profile, key, now=answered_at, at=at, is_confirmed=True)

    def apply_wall_clock(self, bench: Bench, profile: str) -> bool:
        key, at = f"ASIA{profile.upper()}1", bench.clock.boottime()
        now = bench.clock.now()
        return bench.sessions.bound(profile, key, now=now, at=at, is_confirmed=False)

    def test_the_time_of_sts_shortens_the_session_that_it_confirms_and_no_other(
        self, bench: Bench
    ) -> None:
        assert self.confirm(bench, "deploy", NOON + 20 * MINUTE)
        assert bench.sessions.remaining("deploy") == 30 * MINUTE
        assert bench.sessions.remaining("read") == 20 * MINUTE
        assert set(bench.sessions.unconfirmed()) == {"read"}

    def test_the_time_of_sts_never_makes_a_session_longer(self, bench: Bench) -> None:
        assert not self.confirm(bench, "deploy", NOON - 9 * HOUR)
        assert bench.sessions.remaining("deploy") == 50 * MINUTE

    def test_a_difference_of_a_second_is_none(self, bench: Bench) -> None:
        assert not self.confirm(bench, "deploy", NOON + timedelta(seconds=1))

    def test_a_wall_clock_that_was_behind_and_is_set_shortens_unconfirmed_sessions(
        self, bench: Bench
    ) -> None:
        self.confirm(bench, "read", NOON)
        bench.clock.step_wall_clock(30 * MINUTE)
        assert self.apply_wall_clock(bench, "deploy")
        assert not self.apply_wall_clock(bench, "read")
        assert bench.sessions.remaining("deploy") == 20 * MINUTE
        assert bench.sessions.remaining("read") == 20 * MINUTE
        bench.clock.step_wall_clock(-5 * HOUR)
        assert not self.apply_wall_clock(bench, "deploy")
        assert bench.sessions.remaining("deploy") == 20 * MINUTE

    def test_a_session_that_sts_rejects_has_expired(self, bench: Bench) -> None:
        bench.sessions.expire("deploy", "ASIAANOTHER")
        assert bench.sessions.remaining("deploy") == 50 * MINUTE
        bench.sessions.expire("deploy", "ASIADEPLOY1")
        assert bench.sessions.remaining("deploy") == timedelta(0)
        assert set(bench.sessions.unconfirmed()) == {"read"}

    def test_the_session_in_the_file_is_changed_under_a_newer_one_too(self, bench: Bench) -> None:
        bench.issue(DEPLOY, 2)
        at = bench.clock.boottime()
        bench.sessions.bound(
            "deploy", "ASIADEPLOY1", now=NOON + 20 * MINUTE, at=at, is_confirmed=True
        )
        visible = bench.sessions.visible(DEPLOY)
        assert visible is not None
        assert visible.credentials.access_key_id == "ASIADEPLOY1"
        assert visible.expires_at - bench.clock.boottime() == (30 * MINUTE).total_seconds()
        assert bench.sessions.remaining("deploy") == HOUR

    def test_a_session_that_was_confirmed_while_it_was_written_stays_confirmed(
        self, bench: Bench
    ) -> None:
        bench.sessions.mark_unstored("deploy")
        written = bench.sessions.unstored(DEPLOY)
        assert written is not None
        self.confirm(bench, "deploy", NOON + 20 * MINUTE)
        bench.sessions.mark_stored(DEPLOY, written)
        assert bench.sessions.remaining("deploy") == 30 * MINUTE
        assert "deploy" not in bench.sessions.unconfirmed()

    def test_a_profile_that_has_left_the_configuration_is_skipped(self, bench: Bench) -> None:
        bench.define(READ)
        assert set(bench.sessions.unconfirmed()) == {"read"}


class TestAdopt:
    @pytest.mark.parametrize(
        ("expiration", "is_adopted"),
        [(NOON + 2 * HOUR, True), (NOON + HOUR, False), (NOON + MINUTE, False)],
    )
    def test_a_session_of_another_process_is_adopted_if_it_lasts_longer(
        self, expiration: datetime, is_adopted: bool
    ) -> None:
        bench = Bench(DEPLOY)
        bench.sessions.mark_stored(DEPLOY, bench.issue(DEPLOY))
        assert bench.sessions.adopt(DEPLOY, issued(DEPLOY, expiration, 2)) is is_adopted
        assert bench.visible_key(DEPLOY) == ("ASIADEPLOY2" if is_adopted else "ASIADEPLOY1")

    def test_a_session_of_another_role_is_not_adopted(self) -> None:
        bench = Bench(DEPLOY)
        other = role("deploy", role_arn="arn:aws:iam::111122223333:role/another")
        assert not bench.sessions.adopt(DEPLOY, issued(other, NOON + HOUR))


class TestIsSessionOf:
    def test_a_role_with_a_path_is_known_by_its_name_only(self) -> None:
        definition = role("deploy", role_arn="arn:aws:iam::111122223333:role/team/ci/deployer")
        credentials = issued(definition, NOON)
        assert ":assumed-role/deployer/" in credentials.principal_arn
        assert is_session_of(definition, credentials)

    def test_a_profile_without_a_role_has_no_session_of_its_own(self) -> None:
        assert not is_session_of(role("own", role_arn=None), issued(DEPLOY, NOON))
