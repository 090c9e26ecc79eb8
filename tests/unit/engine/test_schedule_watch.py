"""Profiles that an error has lost, and those that only look like it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from assumed.engine.internal_errors import Part
from assumed.engine.profile_state import ScheduledProfile
from assumed.errors import SourceMissingError
from assumed.models import ProfileState
from tests.fakes import Simulation
from tests.unit.engine.helpers import CHILD, DEPLOY, DUE, HOUR, MINUTE, READ, logged, unavailable


def profile_of(simulation: Simulation, name: str) -> ScheduledProfile:
    return simulation.scheduler._queue.profiles[name]


def is_intact(simulation: Simulation) -> bool:
    return simulation.is_intact


def lose_attempt(simulation: Simulation) -> None:
    simulation.scheduler._queue.cancel(profile_of(simulation, "child"))


def lose_job(simulation: Simulation) -> None:
    simulation.jobs.remove_job("child")


def delay_job(simulation: Simulation) -> None:
    later = simulation.clock.now() + timedelta(days=1)
    simulation.jobs.modify_job("child", next_run_time=later)


def lose_result(simulation: Simulation) -> None:
    lose_attempt(simulation)
    profile_of(simulation, "child").in_flight = True


def lose_parent(simulation: Simulation) -> None:
    lose_attempt(simulation)
    profile_of(simulation, "child").awaits_parent = True


@pytest.mark.parametrize(
    ("lose", "found"),
    [
        (lose_attempt, "no attempt is scheduled"),
        (lose_job, "its attempt is due, and has no job"),
        (delay_job, "its attempt is due, and its job was not started"),
        (lose_result, "its attempt has ended without a result"),
        (lose_parent, "it waits for a source profile that is not being refreshed"),
    ],
)
def test_a_lost_profile_is_refreshed_again_and_reported_once(
    lose: Callable[[Simulation], None],
    found: str,
    simulation: Simulation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    simulation.start(DEPLOY, CHILD)
    lose(simulation)
    simulation.run_for(DUE + MINUTE)
    status = simulation.status("child")
    assert status.state is ProfileState.VALID
    assert status.refreshes >= 2
    assert status.next_attempt_at is not None
    (event,) = logged(caplog, "internal_error")
    assert (event["found"], event["profiles"], event["part"]) == (found, "child", "schedule")
    assert simulation.scheduler.errors.counts[Part.SCHEDULE] == 1
    assert is_intact(simulation)


def test_a_child_that_nothing_wakes_is_found(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation.sts.failing["deploy"] = unavailable()
    simulation.start(DEPLOY, CHILD)
    assert simulation.status("child").next_attempt_at is None
    monkeypatch.setattr(simulation.scheduler._queue, "wake_children", lambda _: None)
    simulation.run_for(10 * MINUTE)
    assert simulation.scheduler.errors.counts[Part.SCHEDULE] == 0
    simulation.sts.failing.clear()
    simulation.run_for(6 * MINUTE)
    assert simulation.status("child").state is ProfileState.VALID
    assert [event["profiles"] for event in logged(caplog, "internal_error")] == ["child"]


def test_profiles_that_were_lost_together_are_one_line(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.start(DEPLOY, READ)
    for _ in range(4):
        for name in ("deploy", "read"):
            simulation.scheduler._queue.cancel(profile_of(simulation, name))
        simulation.run_for(MINUTE)
    # Of four times, the third is not shown.
    assert [event.get("times") for event in logged(caplog, "internal_error")] == [None, 2, 4]
    assert {event["profiles"] for event in logged(caplog, "internal_error")} == {"deploy, read"}
    assert simulation.scheduler.errors.counts[Part.SCHEDULE] == 4


def test_what_cannot_be_repaired_is_not_intact(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    simulation.start(DEPLOY, READ)
    with monkeypatch.context() as patch:
        patch.setattr(simulation.jobs, "add_job", fail)
        simulation.jobs.remove_job("deploy")
        simulation.run_for(DUE - MINUTE)
        assert is_intact(simulation)
        simulation.run_for(2 * MINUTE)
        assert not is_intact(simulation)
    simulation.run_for(MINUTE)
    assert is_intact(simulation)
    assert simulation.status("deploy").refreshes == simulation.status("read").refreshes == 2


def test_an_attempt_that_does_not_begin_however_often_it_is_scheduled_is_not_intact(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation.start(DEPLOY)
    monkeypatch.setattr(simulation.jobs, "add_job", lambda *_, **__: None)
    simulation.jobs.remove_job("deploy")
    simulation.run_for(DUE + MINUTE)
    assert not is_intact(simulation)
    # Also in a heartbeat that comes early because a file has changed.
    simulation.pass_time(timedelta(seconds=1))
    assert not simulation.scheduler.heartbeat()


def test_a_watch_that_fails_itself_is_not_intact(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation.start(DEPLOY)
    monkeypatch.setattr(simulation.jobs, "get_job", lambda _: 1 / 0)
    simulation.jobs.remove_job("deploy")
    simulation.run_for(DUE + MINUTE)
    assert not is_intact(simulation)


def test_a_job_that_waits_for_a_thread_is_not_lost(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation.start(DEPLOY)
    with monkeypatch.context() as patch:
        for lane in simulation.jobs._lanes:
            patch.setattr(lane, "run", lane.submitted.clear)
        simulation.run_for(DUE + HOUR)
        assert is_intact(simulation)
        assert simulation.scheduler.errors.counts[Part.SCHEDULE] == 0


def test_no_profile_looks_lost_because_it_waits_or_the_machine_slept(
    simulation: Simulation,
) -> None:
    simulation.sts.failing["read"] = SourceMissingError("none", hint="log in")
    simulation.start(DEPLOY, CHILD, READ)
    for _ in range(3):
        simulation.pass_time(8 * HOUR)
        simulation.run_for(HOUR)
        simulation.step_wall_clock(-5 * HOUR)
        simulation.sts.skew += 5 * HOUR
        simulation.run_for(HOUR)
    assert set(simulation.scheduler.errors.counts.values()) == {0}
