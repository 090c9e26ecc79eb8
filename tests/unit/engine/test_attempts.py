"""Attempts: what profiles share at one STS endpoint, and what happens during a write."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta

from assumed.engine.executor import SLOW_LANE
from assumed.errors import CredentialsFileUnwritableError
from assumed.models import ProfileDefinition, ProfileState, SourceProfile
from tests.fakes import FakeSource, Simulation, role
from tests.unit.engine.helpers import (
    DEPLOY,
    MINUTE,
    READ,
    SECOND,
    refresh,
    throttled,
    unavailable,
)

OTHER_KEYS = SourceProfile("other-keys")


class TestOutages:
    def test_the_end_of_an_outage_has_all_profiles_retry_that_failed_in_it(
        self, simulation: Simulation
    ) -> None:
        profiles = [role(f"p{number}") for number in range(10)]
        simulation.start(*profiles)
        for definition in profiles:
            simulation.sts.failing[definition.profile] = unavailable()
        simulation.run_for(timedelta(hours=3))
        simulation.sts.failing.clear()
        first = min(
            status.next_attempt_at
            for status in simulation.scheduler.statuses()
            if status.next_attempt_at is not None
        )
        simulation.run_for(first - simulation.clock.now() + 2 * SECOND)
        states = {status.state for status in simulation.scheduler.statuses()}
        assert states == {ProfileState.VALID}

    def test_a_failure_of_one_role_is_not_taken_for_an_outage(self, simulation: Simulation) -> None:
        simulation.sts.failing["broken"] = unavailable()
        others = [role(f"p{number}") for number in range(50)]
        simulation.start(role("broken"), *others)
        simulation.run_for(timedelta(hours=12))
        # Its own back-off ends at one attempt in 2.5 minutes on average.
        assert simulation.status("broken").consecutive_failures < 12 * 60 / 2.5 + 30

    def test_a_session_that_is_written_during_an_outage_does_not_end_it(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY, *(role(f"p{number}") for number in range(5)))
        names = [f"p{number}" for number in range(5)]
        simulation.sts.failing = dict.fromkeys(names, unavailable())
        simulation.run_for(timedelta(hours=2))
        due = {name: simulation.status(name).next_attempt_at for name in names}
        simulation.scheduler.reconcile({})
        simulation.jobs.run_due()
        assert {name: simulation.status(name).next_attempt_at for name in names} == due

    def test_a_profile_whose_call_hung_does_not_delay_others(self, simulation: Simulation) -> None:
        def hang(definition: ProfileDefinition) -> None:
            if definition.profile == "deploy":
                simulation.pass_time(timedelta(seconds=6))

        simulation.sts.during_call = hang
        simulation.sts.failing["deploy"] = unavailable()
        simulation.start(DEPLOY, READ)
        lanes = {job.id: job.executor for job in simulation.jobs.get_jobs()}
        assert lanes == {"deploy": SLOW_LANE, "read": "default"}
        simulation.sts.during_call = lambda _: None
        del simulation.sts.failing["deploy"]
        simulation.run_for(MINUTE)
        lanes = {job.id: job.executor for job in simulation.jobs.get_jobs()}
        assert lanes == {"deploy": "default", "read": "default"}


class TestRateLimit:
    """One limit for each STS endpoint and account: `here` is throttled, and so is who shares it."""

    HERE = tuple(role(f"here{number}") for number in range(20))

    def test_the_first_throttling_slows_down_all_calls_to_that_endpoint(
        self, simulation: Simulation
    ) -> None:
        assert _delayed(simulation, self.HERE) > 0
        simulation.sts.during_call = lambda _: None
        simulation.run_for(MINUTE)
        states = {status.state for status in simulation.scheduler.statuses()}
        assert states == {ProfileState.VALID}

    def test_another_region_is_not_slowed_down(self, simulation: Simulation) -> None:
        there = tuple(role(f"there{number}", region="eu-west-1") for number in range(20))
        assert _delayed(simulation, self.HERE, there) == 0

    def test_another_account_in_the_same_region_is_not_slowed_down(
        self, simulation: Simulation
    ) -> None:
        _add_source(simulation, OTHER_KEYS, account_id="999988887777")
        there = tuple(role(f"there{number}", source=OTHER_KEYS) for number in range(20))
        assert _delayed(simulation, self.HERE, there) == 0

    def test_the_region_by_its_name_is_the_same_endpoint(self, simulation: Simulation) -> None:
        there = tuple(role(f"there{number}", region="us-east-1") for number in range(20))
        assert _delayed(simulation, self.HERE, there) > 0

    def test_another_source_in_the_same_account_is_slowed_down(
        self, simulation: Simulation
    ) -> None:
        simulation.sources.known["keys"].account_id = "111122223333"
        _add_source(simulation, OTHER_KEYS, account_id="111122223333")
        there = tuple(role(f"there{number}", source=OTHER_KEYS) for number in range(20))
        assert _delayed(simulation, self.HERE, there) > 0

    def test_a_chain_is_slowed_down_with_the_account_of_its_parent(
        self, simulation: Simulation
    ) -> None:
        simulation.sources.known["keys"].account_id = "111122223333"
        there = tuple(role(f"there{number}", parent="here0") for number in range(20))
        assert _delayed(simulation, self.HERE, there) > 0

    def test_a_chain_from_a_role_of_another_account_is_not_slowed_down(
        self, simulation: Simulation
    ) -> None:
        _add_source(simulation, OTHER_KEYS, account_id="111122223333")
        hub = role("hub", source=OTHER_KEYS, role_arn="arn:aws:iam::999988887777:role/hub")
        there = tuple(role(f"there{number}", parent="hub") for number in range(20))
        assert _delayed(simulation, self.HERE, (hub, *there)) == 0

    def test_a_session_that_only_has_to_be_written_waits_for_no_rate_limit(
        self, simulation: Simulation
    ) -> None:
        full = CredentialsFileUnwritableError("full", hint="free some space")
        simulation.store.failing = full
        simulation.start(DEPLOY)
        simulation.store.failing = None
        _throttle(simulation, READ)
        outcomes = refresh(simulation, "deploy")
        assert outcomes["deploy"].ok
        assert simulation.sts.called.count("deploy") == 1


class TestWrite:
    """A worker makes the next call during a write; a refresh ends when it is on disk."""

    def test_others_are_called_during_a_write_and_no_outcome_comes_before_its_end(
        self, simulation: Simulation
    ) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY, READ)
        assert simulation.sts.called == ["deploy", "read"]
        assert not simulation.scheduler.first_pass.done.done()
        assert simulation.status("deploy").refreshes == 0
        # A request while it is under way makes no second call.
        assert refresh(simulation, "deploy", force=True) == {}
        assert simulation.sts.called == ["deploy", "read"]

        for written in writes:
            written.set_result(None)
        simulation.jobs.run_due()
        assert simulation.scheduler.first_pass.done.done()
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_the_thread_of_the_store_applies_no_result(self, simulation: Simulation) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY)
        writes[0].set_result(None)
        assert simulation.status("deploy").state is ProfileState.PENDING
        simulation.jobs.run_due()
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_failed_write_is_retried_without_another_call(self, simulation: Simulation) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY)
        simulation.store.unfinished = None
        writes[0].set_exception(CredentialsFileUnwritableError("full", hint="free some space"))
        simulation.jobs.run_due()
        assert simulation.status("deploy").state is ProfileState.FAILING
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.sts.called == ["deploy"]

    def test_a_slow_disk_does_not_count_as_a_call_that_hung(self, simulation: Simulation) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY)
        simulation.store.unfinished = None
        simulation.run_for(10 * SECOND)
        writes[0].set_result(None)
        simulation.jobs.run_due()
        (job,) = simulation.jobs.get_jobs()
        assert job.executor == "default"


def _add_source(simulation: Simulation, source: SourceProfile, *, account_id: str) -> None:
    added = FakeSource(source.name, "1")
    added.account_id = account_id
    simulation.sources.known[source.name] = added


def _throttle(simulation: Simulation, definition: ProfileDefinition) -> None:
    """Have a profile throttled once, so that its endpoint has a rate limit."""
    simulation.sts.failures.append(throttled())
    simulation.update_definitions(DEPLOY, definition)
    simulation.jobs.run_due()
    assert simulation.sts.called[-1] == definition.profile


def _delayed(
    simulation: Simulation,
    here: tuple[ProfileDefinition, ...],
    there: tuple[ProfileDefinition, ...] = (),
) -> int:
    """Return how many of `there`, or of `here`, are not called at once if `here` is throttled."""
    simulation.sts.during_call = lambda definition: (
        simulation.sts.failures.append(throttled())
        if definition in here and len(simulation.sts.calls) % 5 == 1
        else None
    )
    simulation.start(*here, *there)
    started = set(simulation.sts.called)
    return sum(definition.profile not in started for definition in there or here)
