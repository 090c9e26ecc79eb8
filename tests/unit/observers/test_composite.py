from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from assumed.engine.events import EventType, ProfileEvent
from assumed.models import Configuration
from assumed.observers.composite import CompositeObserver
from assumed.observers.hooks import Hooks
from assumed.observers.metrics import Metrics
from assumed.observers.metrics_textfile import MetricsTextfile
from tests.fakes import NOON, FakeClock


class FakeListener:
    def __init__(self) -> None:
        self.ports: list[int | None] = []

    def open(self, port: int | None) -> None:
        self.ports.append(port)

    def close(self) -> None:
        self.ports.append(-1)


class RecordingHooks(Hooks):
    def __init__(self) -> None:
        super().__init__({})
        self.events: list[ProfileEvent] = []

    def on_event(self, profile_event: ProfileEvent) -> None:
        self.events.append(profile_event)


class RecordingMetrics(Metrics):
    def __init__(self) -> None:
        super().__init__("jane")
        self.events: list[ProfileEvent] = []

    def on_event(self, profile_event: ProfileEvent) -> None:
        self.events.append(profile_event)


@pytest.fixture
def textfile() -> MetricsTextfile:
    return MetricsTextfile(lambda: b"metrics\n", FakeClock())


def test_composite_observer_passes_an_event_to_metrics_and_hooks(
    textfile: MetricsTextfile,
) -> None:
    hooks, metrics = RecordingHooks(), RecordingMetrics()
    refreshed = ProfileEvent(
        event_type=EventType.REFRESHED, profile="deploy", role_arn=None, expires_at=NOON
    )
    for observer in CompositeObserver(metrics, hooks, FakeListener(), textfile).of_events:
        observer(refreshed)
    assert hooks.events == metrics.events == [refreshed]


def test_composite_observer_applies_the_configuration(
    textfile: MetricsTextfile, tmp_path: Path
) -> None:
    listener, path = FakeListener(), tmp_path / "assumed.prom"
    observer = CompositeObserver(Metrics("jane"), Hooks({}), listener, textfile)
    configured = Configuration(path=Path(), profiles={}, metrics_port=9464, metrics_textfile=path)
    observer.configure(configured)
    textfile.write()
    assert path.read_bytes() == b"metrics\n"
    observer.configure(Configuration(path=Path(), profiles={}))
    observer.stop()
    assert listener.ports == [9464, None, -1]


def test_metrics_textfile_is_due_at_every_heartbeat(tmp_path: Path) -> None:
    clock = FakeClock()
    textfile = MetricsTextfile(lambda: b"", clock)
    assert not textfile.is_due()
    textfile.configure(tmp_path / "assumed.prom")
    assert textfile.is_due()
    textfile.write()
    clock.advance(timedelta(seconds=13))
    assert not textfile.is_due()
    clock.advance(timedelta(seconds=1))
    assert textfile.is_due()
