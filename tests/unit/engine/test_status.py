"""The status of profiles, and the summary of all."""

from __future__ import annotations

import pytest

from assumed.engine.heartbeat import HEARTBEAT
from assumed.models import ProfileState
from tests.fakes import NOON, FakeSource, Simulation, issued, role
from tests.unit.engine.helpers import CHILD, DEPLOY, DUE, HOUR, READ, denied


def test_a_heartbeat_looks_at_no_profile_that_is_valid(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation.start(DEPLOY, READ, CHILD)
    simulation.scheduler.summary()

    def looked_at(*_: object) -> None:
        raise AssertionError

    for name in ("mfa_session", "source_fingerprint"):
        monkeypatch.setattr(simulation.refresher, name, looked_at)
    for name in ("get", "visible"):
        monkeypatch.setattr(simulation.refresher.sessions, name, looked_at)
    for _ in range(4):
        simulation.pass_time(HEARTBEAT)
        simulation.scheduler.heartbeat()
        summary = simulation.scheduler.summary()
        assert (summary.valid, summary.enabled, summary.next_attempt_at) == (3, 3, NOON + DUE)


def test_the_summary_does_not_count_a_session_that_expires_while_nothing_happens(
    simulation: Simulation,
) -> None:
    soon, later = issued(DEPLOY, NOON + HOUR), issued(READ, NOON + 2 * HOUR)
    simulation.start(DEPLOY, READ, stored={"deploy": soon, "read": later})
    counted = [simulation.scheduler.summary().valid]
    for _ in range(2):
        simulation.pass_time(HOUR)
        counted.append(simulation.scheduler.summary().valid)
    assert counted == [2, 1, 0]


def test_the_summary_gives_the_next_attempt_by_the_current_wall_clock(
    simulation: Simulation,
) -> None:
    simulation.start(DEPLOY)
    assert simulation.scheduler.summary().next_attempt_at == NOON + DUE
    simulation.step_wall_clock(HOUR)
    simulation.scheduler.heartbeat()
    assert simulation.scheduler.summary().next_attempt_at == NOON + DUE + HOUR


def test_the_summary_agrees_with_all_statuses_at_any_time(simulation: Simulation) -> None:
    seen: set[ProfileState] = set()

    def compare() -> None:
        rows = simulation.scheduler.statuses()
        states = [row.state for row in rows if row.state is not ProfileState.DISABLED]
        upcoming = [row.next_attempt_at for row in rows if row.next_attempt_at]
        summary = simulation.scheduler.summary()
        assert (summary.valid, summary.enabled) == (
            states.count(ProfileState.VALID),
            len(states),
        )
        # An attempt in the past is due now.
        found = summary.next_attempt_at
        assert (found and max(found, simulation.clock.now())) == min(upcoming, default=None)
        seen.update(states)

    simulation.sts.failing["read"] = denied()
    simulation.start(DEPLOY, READ, CHILD)
    simulation.run_for(HOUR, at_each_stop=compare)
    simulation.sources.known.clear()
    simulation.run_for(2 * HOUR, at_each_stop=compare)
    simulation.update_definitions(DEPLOY, role("read", enabled=False), role("other"))
    compare()
    simulation.sources.known["keys"] = FakeSource("keys", "keys 2")
    del simulation.sts.failing["read"]
    simulation.run_for(HOUR, at_each_stop=compare)
    simulation.update_definitions(DEPLOY, READ, CHILD)
    simulation.run_for(HOUR, at_each_stop=compare)
    simulation.scheduler.reconcile({})
    compare()
    later = simulation.clock.now() + 3 * HOUR
    simulation.scheduler.reconcile({"deploy": issued(DEPLOY, later, 9)})
    compare()
    simulation.scheduler.stop()
    compare()
    assert seen >= {ProfileState.VALID, ProfileState.FAILING, ProfileState.NEEDS_LOGIN}
