"""Each part that the engine works with raises errors at random moments: no profile is lost."""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import pytest

from assumed.engine import attempts, completions
from assumed.errors import AssumeRoleDeniedError, StsThrottledError, StsUnavailableError
from assumed.logs.background import BackgroundHandler
from assumed.logs.destinations import FailoverHandler
from assumed.models import MfaSession, ProfileDefinition, ProfileState, SourceProfile, StorageMode
from tests.fakes import NOON, Simulation, role

SEEDS = 1
SPAN = timedelta(hours=2)
MINUTE = timedelta(minutes=1)
# The longest back-off, and what waits for a change of its source.
MAX_RECOVERY = 6 * MINUTE
ERRORS: list[Callable[[], Exception]] = [
    lambda: RuntimeError("can't start new thread"),
    lambda: OSError(errno.EMFILE, "Too many open files"),
    MemoryError,
]
LOGIN = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/me", timedelta(hours=12))

Find = Callable[[Simulation], object]
TARGETS: dict[str, tuple[Find, list[str]]] = {
    "sources": (lambda it: it.sources, ["resolve", "fingerprint"]),
    "source": (lambda it: it.sources.known["keys"], ["credentials"]),
    "logins": (lambda it: it.sources.logins, ["expires_at", "remaining"]),
    "sts": (lambda it: it.sts, ["endpoint_url", "assume_role"]),
    "store": (lambda it: it.store, ["write"]),
    "sessions": (
        lambda it: it.refresher.sessions,
        [
            "add", "due_in", "get", "is_stored_correctly",
            "load_stored_sessions", "mark_stored", "mark_unstored", "remaining",
            "set_definitions", "unstored", "visible",
        ],
    ),
    "refresher": (
        lambda it: it.refresher,
        ["prepare", "assume", "store_session", "mfa_session"],
    ),
    "queue": (
        lambda it: it.scheduler._queue,
        [
            "add_job", "attempt", "cancel", "claim", "contains", "failing",
            "is_early", "jitter", "mark_failing", "reschedule_all", "schedule_in",
            "schedule_refresh", "schedule_restore", "wake_children",
        ],
    ),
    "jobs": (
        lambda it: it.jobs, ["add_job", "remove_job", "wakeup"]
    ),
    "job store": (
        lambda it: it.jobs._jobstores["default"], ["get_due_jobs", "remove_job"]
    ),
    "threads": (lambda it: it.jobs._lanes[0], ["_do_submit_job"]),
    "runner": (
        lambda it: it.scheduler._queue._run.__self__,  # type: ignore[attr-defined]
        ["_claim", "_is_held_back", "_record_success", "_record_throttling"],
    ),
    "completions": (lambda it: it.scheduler._completions, ["apply", "_failed", "_succeeded"]),
    "events": (
        lambda it: it.scheduler._events,
        ["check_expiry", "failed", "log", "overwritten", "refreshed", "_emit"],
    ),
    "status": (
        lambda it: it.scheduler._view, ["next_attempt_at", "remaining", "session"]
    ),
    "mfa": (lambda it: it.scheduler._mfa, ["pop_expiring", "read", "read_of", "track"]),
    "checks": (
        lambda it: it.scheduler._heartbeat._checks,
        ["_is_wall_clock_stepped", "_retry_changed_source"],
    ),
    "first pass": (lambda it: it.scheduler.first_pass, ["check", "expect", "tried"]),
    "scheduler": (lambda it: it.scheduler, ["_accept", "_complete", "_pop_answers"]),
    "retry_delay": (lambda _: completions, ["retry_delay"]),
    "attempt": (lambda _: attempts, ["Attempt"]),
}  # fmt: skip


def definitions() -> list[ProfileDefinition]:
    """Return a chain, and one profile of each kind; the last one may be removed."""
    return [
        role("a"),
        role("child", parent="a"),
        role("grandchild", parent="child"),
        role("memory", store=StorageMode.MEMORY),
        role("mfa", source=LOGIN),
        role("short", duration_seconds=900),
    ]


class Trial:
    """Hours in which one method fails at random, beside ordinary faults of STS."""

    def __init__(self, seed: int, simulation: Simulation) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - the same trial for the same seed
        self.failed_calls = 0
        self.simulation = simulation
        simulation.scheduler._queue.jitter = self.random.random
        simulation.sources.known[str(LOGIN)] = simulation.sources.known["keys"]
        simulation.sources.logins.ends_at = NOON + timedelta(days=30)
        simulation.start(*definitions())

    def run(self, broken: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        """Run for hours, with times in which `broken` is in effect; then check all profiles."""
        simulation, end = self.simulation, self.simulation.clock.now() + SPAN
        while simulation.clock.now() < end:
            simulation.run_for(self.random.random() * 10 * MINUTE)
            with broken():
                self._disturb()
                simulation.run_for(self.random.random() * 9 * MINUTE)
                simulation.sts.failing.clear()
                simulation.run_for(self.random.random() * MINUTE)
        # A reload after the trouble: one that raised an error is not repeated by itself.
        self._reload(definitions())
        simulation.run_for(MAX_RECOVERY)
        self._check()

    def sabotage(self, owner: Any, method: str, patch: pytest.MonkeyPatch) -> None:
        """Make a method raise errors at random until the end of `patch`."""
        original, share = getattr(owner, method), self.random.choice([0.1, 0.5, 1.0])
        patch.setattr(owner, method, self.failing(share, original))

    def failing(self, share: float, original: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*arguments: Any, **options: Any) -> Any:
            if self.random.random() < share:
                self.failed_calls += 1
                raise self.random.choice(ERRORS)()
            return original(*arguments, **options)

        return fail

    def _disturb(self) -> None:
        """Bring about events that the broken method may have a part in."""
        names = [definition.profile for definition in definitions()]
        error = self.random.choice(
            [
                AssumeRoleDeniedError("no", hint="ask"),
                StsThrottledError("too many calls", hint="wait"),
                StsUnavailableError("no answer", hint="wait"),
            ]
        )
        for name in self.random.sample(names, self.random.randrange(len(names))):
            self.simulation.sts.failing[name] = error
        kept = definitions()[: self.random.choice([-1, None])]
        step = self.random.uniform(-60, 60) * MINUTE
        self.simulation.step_wall_clock(step)
        self.simulation.sts.skew -= step
        # What a reload or a request raises reaches the main loop or the client.
        for disturb in (
            lambda: self.simulation.scheduler.refresh(["a", "child"], force=True),
            lambda: self.simulation.scheduler.reconcile({}),
            lambda: self._reload(kept),
        ):
            with suppress(*{type(error()) for error in ERRORS}):
                disturb()

    def _reload(self, definitions: Sequence[ProfileDefinition]) -> None:
        self.simulation.update_definitions(*definitions)

    def _check(self) -> None:
        simulation, seed = self.simulation, self.seed
        assert (seed, simulation.is_intact) == (seed, True)
        now = simulation.clock.now() + simulation.sts.skew
        for status in simulation.scheduler.statuses():
            assert (seed, status.profile, status.state) == (
                seed,
                status.profile,
                ProfileState.VALID,
            )
            assert status.expires_at is not None
            assert status.lifetime_seconds is not None
            # It is not due, so another third of the lifetime remains.
            remaining = (status.expires_at - now).total_seconds()
            assert (seed, status.profile, remaining > status.lifetime_seconds / 3) == (
                seed,
                status.profile,
                True,
            )
            assert status.next_attempt_at is not None


@pytest.fixture(params=range(SEEDS))
def trial(request: pytest.FixtureRequest, simulation: Simulation) -> Trial:
    return Trial(request.param, simulation)


@pytest.mark.parametrize(
    ("target", "method"),
    [(target, method) for target, (_, methods) in TARGETS.items() for method in methods],
)
def test_no_profile_is_lost_whatever_raises(
    target: str, method: str, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = TARGETS[target][0](trial.simulation)

    @contextmanager
    def broken() -> Iterator[None]:
        with monkeypatch.context() as patch:
            trial.sabotage(owner, method, patch)
            yield

    trial.run(broken)
    assert trial.failed_calls > 0


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), CancelledError()])
def test_no_profile_is_lost_however_a_write_ends(error: BaseException, trial: Trial) -> None:
    write = trial.simulation.store.write

    def fail(*arguments: Any, **options: Any) -> Future[None]:
        if trial.random.random() < 0.5:
            return write(*arguments, **options)
        done: Future[None] = Future()
        if isinstance(error, CancelledError):
            done.cancel()
        else:
            done.set_exception(error)
        return done

    @contextmanager
    def broken() -> Iterator[None]:
        trial.simulation.store.write = fail  # type: ignore[method-assign]
        yield
        trial.simulation.store.write = write  # type: ignore[method-assign]

    trial.run(broken)


def test_no_profile_is_lost_with_an_observer_and_a_log_that_raise(trial: Trial) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            trial.failed_calls += 1
            raise OSError(errno.EIO, "Input/output error")

    handler = BackgroundHandler(FailoverHandler(Broken(), Broken(), name="a log"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        trial.simulation.scheduler.subscribe(trial.failing(1.0, print))
        trial.run()
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
    assert trial.failed_calls > 10
