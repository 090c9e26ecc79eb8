"""The scheduler's interface: reloads, changes of the file, profiles in memory, its lock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from assumed.engine import event_log
from assumed.errors import (
    CredentialsFileMalformedError,
    CredentialsFileUnwritableError,
    SourceMissingError,
)
from assumed.models import MfaSession, ProfileState, SourceProfile, StorageMode
from tests.fakes import NOON, Simulation, issued, role
from tests.unit.engine.helpers import (
    CHILD,
    DEPLOY,
    HOUR,
    MINUTE,
    READ,
    SECOND,
    logged,
    refresh,
    unavailable,
)

IN_MEMORY = role("deploy", store=StorageMode.MEMORY)
LOGIN = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/jane")
# Only a test that fails waits for so long.
TIMEOUT = 20


class TestUpdateDefinitions:
    def test_a_new_profile_is_assumed_and_a_removed_one_is_left_alone(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY, READ)
        simulation.update_definitions(READ, role("new"))
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy", "read", "new"]
        assert [status.profile for status in simulation.scheduler.statuses()] == ["read", "new"]
        simulation.run_for(HOUR)
        assert simulation.sts.called.count("deploy") == 1

    def test_another_call_is_made_at_once(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.update_definitions(role("deploy", external_id="changed"))
        simulation.jobs.run_due()
        assert simulation.sts.calls[-1][0].external_id == "changed"

    def test_another_refresh_before_needs_no_call(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.update_definitions(role("deploy", refresh_before=timedelta(minutes=30)))
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(timedelta(minutes=27))
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_a_disabled_profile_is_left_alone_until_it_is_enabled(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.update_definitions(role("deploy", enabled=False))
        simulation.run_for(HOUR)
        assert simulation.sts.called == ["deploy"]
        simulation.update_definitions(DEPLOY)
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_a_definition_that_changes_during_its_call_wins(self, simulation: Simulation) -> None:
        changed = role("deploy", external_id="changed")

        def reload(_: object) -> None:
            simulation.sts.during_call = lambda _: None
            simulation.update_definitions(changed)

        simulation.sts.during_call = reload
        simulation.start(DEPLOY)
        assert [definition for definition, _ in simulation.sts.calls] == [DEPLOY, changed]
        session = simulation.refresher.sessions.get("deploy")
        assert session is not None
        assert session.credentials == simulation.store.profiles["deploy"]
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_profile_that_is_removed_during_its_call_does_not_return(
        self, simulation: Simulation
    ) -> None:
        simulation.sts.during_call = lambda _: simulation.update_definitions(READ)
        simulation.start(DEPLOY)
        assert [status.profile for status in simulation.scheduler.statuses()] == ["read"]
        assert simulation.refresher.sessions.get("deploy") is None


class TestReconcile:
    def test_a_profile_that_another_program_overwrote_is_restored_without_a_call(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "assumed")
        simulation.start(DEPLOY, READ)
        before = simulation.store.profiles.copy()
        del simulation.store.profiles["deploy"]
        simulation.scheduler.reconcile(simulation.store.profiles)
        simulation.jobs.run_due()
        assert simulation.store.profiles == before
        assert simulation.sts.called == ["deploy", "read"]
        assert [event["profile"] for event in logged(caplog, "profile_overwritten")] == ["deploy"]
        assert [event["profile"] for event in logged(caplog, "profile_restored")] == ["deploy"]
        assert simulation.status("deploy").refreshes == 1

    def test_a_session_that_was_found_in_the_file_is_restored_and_is_not_a_new_one(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "assumed")
        simulation.start(DEPLOY, stored={"deploy": issued(DEPLOY, NOON + HOUR)})
        simulation.scheduler.reconcile({})
        simulation.jobs.run_due()
        assert [event["profile"] for event in logged(caplog, "profile_restored")] == ["deploy"]
        assert simulation.status("deploy").refreshes == 0
        assert simulation.events == []

    def test_two_programs_that_write_the_same_profile_do_not_keep_each_other_busy(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        writes = simulation.store.writes
        for _ in range(60):
            simulation.scheduler.reconcile({})
            simulation.run_for(SECOND)
        assert 6 <= simulation.store.writes - writes <= 7
        assert simulation.sts.called == ["deploy"]

    def test_a_later_session_that_another_process_wrote_is_adopted(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        later = issued(DEPLOY, NOON + 2 * HOUR, 99)
        simulation.scheduler.reconcile({"deploy": later})
        simulation.run_for(HOUR)
        assert simulation.sts.called == ["deploy"]
        assert simulation.status("deploy").expires_at == NOON + 2 * HOUR

    def test_a_file_that_cannot_be_read_shows_in_the_status_until_it_can(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.store.failures = [
            CredentialsFileMalformedError(path="f", line=3, problem="no key", hint="fix it")
        ] * 3
        simulation.scheduler.reconcile(None)
        simulation.jobs.run_due()
        status = simulation.status("deploy")
        assert status.state is ProfileState.FAILING
        assert status.last_error is not None
        assert status.last_error.code == "CredentialsFileMalformed"
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.sts.called == ["deploy"]


class TestMemory:
    """Profiles with `store: memory`."""

    def test_a_profile_in_memory_stays_fresh_and_is_never_written(
        self, simulation: Simulation
    ) -> None:
        simulation.start(IN_MEMORY)
        simulation.run_for(timedelta(days=1))
        assert simulation.store.writes == 0
        assert simulation.sts.number == pytest.approx(44, abs=2)
        status = simulation.status("deploy")
        assert (status.state, status.store) == (ProfileState.VALID, "memory")
        future = simulation.scheduler.credentials("deploy", min_left=15 * MINUTE)
        assert future.result(timeout=0).access_key_id.startswith("ASIADEPLOY")

    def test_from_file_to_memory_its_section_is_removed_and_its_session_stays(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        before = simulation.store.profiles["deploy"]
        simulation.update_definitions(IN_MEMORY, stored=simulation.store.profiles)
        simulation.jobs.run_due()
        assert simulation.store.profiles == {}
        assert _credentials(simulation) == before
        assert simulation.sts.number == 1
        simulation.scheduler.reconcile({})
        simulation.run_for(HOUR)
        assert simulation.store.profiles == {}

    def test_from_memory_to_file_it_is_written_without_a_call(self, simulation: Simulation) -> None:
        simulation.start(IN_MEMORY)
        simulation.update_definitions(DEPLOY)
        simulation.jobs.run_due()
        assert simulation.store.profiles["deploy"] == _credentials(simulation)
        assert simulation.sts.number == 1

    def test_its_section_from_before_the_start_is_removed(self, simulation: Simulation) -> None:
        other = role("deploy", role_arn="arn:aws:iam::111122223333:role/before")
        stale = {"deploy": issued(other, NOON + HOUR)}
        simulation.store.profiles.update(stale)
        simulation.start(IN_MEMORY, stored=stale)
        assert simulation.store.profiles == {}
        assert simulation.sts.number == 1

    def test_a_section_that_cannot_be_removed_is_tried_again(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.store.failures.append(CredentialsFileUnwritableError("full", hint="make room"))
        simulation.update_definitions(IN_MEMORY, stored=simulation.store.profiles)
        simulation.jobs.run_due()
        assert simulation.status("deploy").state is ProfileState.FAILING
        simulation.run_for(MINUTE)
        assert simulation.store.profiles == {}
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.sts.number == 1

    def test_a_chain_starts_from_it(self, simulation: Simulation) -> None:
        simulation.start(CHILD, IN_MEMORY)
        assert list(simulation.store.profiles) == ["child"]
        simulation.run_for(timedelta(hours=5))
        assert simulation.status("child").state is ProfileState.VALID


class TestLock:
    """Files and the network are used without the lock, and what an event loop calls takes none."""

    @pytest.fixture
    def unlocked(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Fail what reads a file or uses the network under the lock."""
        owns = simulation.scheduler._queue.lock._is_owned  # type: ignore[attr-defined]
        calls = set()

        def guard(owner: object, name: str) -> None:
            original = getattr(owner, name)

            def guarded(*arguments: Any, **options: Any) -> Any:
                assert not owns(), f"{name} was called under the lock"
                calls.add(name)
                return original(*arguments, **options)

            monkeypatch.setattr(owner, name, guarded)

        methods = {
            simulation.sources: ("resolve", "fingerprint", "account_id"),
            simulation.sources.logins: ("expires_at", "remaining", "start"),
            simulation.sts: ("assume_role", "endpoint_url"),
            simulation.store: ("write", "remove"),
            # The log may wait for a disk, and an observer for another thread.
            event_log: ("event",),
        }
        observer = SimpleNamespace(observe=lambda _: None)
        guard(observer, "observe")
        simulation.scheduler.subscribe(observer.observe)
        for owner, names in methods.items():
            for name in names:
                guard(owner, name)
        yield
        assert calls == {name for names in methods.values() for name in names} | {"observe"}

    def test_no_file_is_read_and_no_call_is_made_under_the_lock(
        self, simulation: Simulation, unlocked: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation.sources.known[str(LOGIN)] = simulation.sources.known["keys"]
        simulation.sources.logins.ends_at = NOON + HOUR
        with_mfa = role("mfa", source=LOGIN)
        simulation.sts.failing = {
            "read": unavailable(),
            "mfa": SourceMissingError("none", hint="log in"),
        }
        simulation.start(DEPLOY, READ, with_mfa, CHILD, role("memory", store=StorageMode.MEMORY))
        simulation.sources.known["keys"].fingerprint = "keys 2"
        simulation.run_for(2 * HOUR)
        refresh(simulation, force=True)
        simulation.scheduler.log_in("mfa", "123456")
        simulation.scheduler.statuses()
        simulation.scheduler.reconcile({})
        simulation.update_definitions(READ, with_mfa)
        simulation.run_for(HOUR)
        simulation.scheduler.stop()
        assert logged(caplog, "internal_error") == []

    def test_an_event_loop_never_waits_for_the_lock(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY, READ)
        is_held, may_go = Event(), Event()

        def hold() -> None:
            with simulation.scheduler._queue.lock:
                is_held.set()
                assert may_go.wait(TIMEOUT)

        holder = Thread(target=hold)
        holder.start()
        done = Event()

        def call_all() -> None:
            scheduler = simulation.scheduler
            assert len(scheduler.statuses()) == 2
            assert scheduler.summary().valid == 2
            assert scheduler.credentials("deploy", min_left=MINUTE).done()
            scheduler.refresh(["deploy"], force=True)
            done.set()

        try:
            assert is_held.wait(TIMEOUT)
            caller = Thread(target=call_all, daemon=True)
            caller.start()
            assert done.wait(TIMEOUT)
        finally:
            may_go.set()
            holder.join()


def _credentials(simulation: Simulation) -> object:
    return simulation.scheduler.credentials("deploy", min_left=MINUTE).result(timeout=0)
