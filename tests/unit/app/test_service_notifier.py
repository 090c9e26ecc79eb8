from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assumed.app.service_notifier import ServiceNotifier, status_text
from assumed.engine.status import Summary

AT = datetime(2026, 11, 24, 13, 5, tzinfo=UTC)


def summary(valid: int = 1, next_attempt_at: datetime | None = None) -> Summary:
    return Summary(valid=valid, enabled=2, next_attempt_at=next_attempt_at, good_until=0)


@pytest.mark.parametrize(
    ("next_attempt_at", "config_error", "expected"),
    [
        (None, None, "1 of 2 profiles valid"),
        (AT, None, f"1 of 2 profiles valid, next refresh {AT.astimezone():%H:%M}"),
        (None, "wrong", "1 of 2 profiles valid; the configuration on disk is not used"),
    ],
)
def test_status_text(
    next_attempt_at: datetime | None, config_error: str | None, expected: str
) -> None:
    assert status_text(summary(next_attempt_at=next_attempt_at), config_error) == expected


class FakeNotifier:
    def __init__(self, *, is_enabled: bool = True) -> None:
        self.is_enabled = is_enabled
        self.is_reachable = True
        self.texts: list[str] = []
        self.calls: list[str] = []

    def status(self, text: str) -> bool:
        if self.is_reachable:
            self.texts.append(text)
        return self.is_reachable

    def ready(self) -> None:
        self.calls.append("ready")

    def reloading(self) -> None:
        self.calls.append("reloading")

    def stopping(self) -> None:
        self.calls.append("stopping")

    def keep_alive(self) -> None:
        self.calls.append("keep_alive")


class Notified:
    def __init__(self, *, is_enabled: bool = True) -> None:
        self.notifier = FakeNotifier(is_enabled=is_enabled)
        self.summary = summary()
        self.config_error: str | None = None
        self.service = ServiceNotifier(
            self.notifier, summary=lambda: self.summary, config_error=lambda: self.config_error
        )


def test_update_status_sends_a_status_only_if_it_has_changed() -> None:
    notified = Notified()
    for _ in range(2):
        notified.service.update_status()
    notified.summary = summary(valid=2)
    notified.service.update_status()
    notified.config_error = "wrong"
    notified.service.update_status()
    assert [text[:22] for text in notified.notifier.texts] == [
        "1 of 2 profiles valid",
        "2 of 2 profiles valid",
        "2 of 2 profiles valid;",
    ]


def test_update_status_sends_a_status_again_that_was_not_sent() -> None:
    notified = Notified()
    notified.notifier.is_reachable = False
    notified.service.update_status()
    notified.notifier.is_reachable = True
    notified.service.update_status()
    assert notified.notifier.texts == ["1 of 2 profiles valid"]


def test_update_status_sends_nothing_without_a_service_manager() -> None:
    notified = Notified(is_enabled=False)
    notified.service.update_status()
    assert notified.notifier.texts == []


def test_each_state_is_reported_and_the_status_line_follows_ready() -> None:
    notified = Notified()
    notified.service.reloading()
    assert notified.notifier.texts == []
    notified.service.ready()
    assert notified.notifier.texts == ["1 of 2 profiles valid"]
    notified.service.keep_alive()
    notified.service.stopping()
    assert notified.notifier.calls == ["reloading", "ready", "keep_alive", "stopping"]
