"""What Prometheus is told: a few counts, and what the scheduler knows at the moment it is asked.

There is no gauge for each profile that would have to be kept up to date, and prometheus-client is
not imported before somebody asks.

Source: "Metric and label naming" in the documentation of Prometheus.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from assumed.engine.events import EventType, ProfileEvent
from assumed.models import DaemonStatus, ProfileState, ProfileStatus, Status

if TYPE_CHECKING:
    from prometheus_client import Metric

_STS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LATE_SECONDS = (0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_Values = Mapping[tuple[str, ...], float]
"""By the values of the labels."""
_FAILURES = {EventType.FAILED, EventType.NEEDS_LOGIN}


class Metrics:
    """Counts what happens; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()
        self._sts = _Histogram(_STS_SECONDS)
        self._lateness = _Histogram(_LATE_SECONDS)

    def tell(self, notice: ProfileEvent) -> None:
        """Count what has happened to a profile."""
        with self._lock:
            if notice.event_type in _FAILURES and notice.failure is not None:
                self._failures[notice.failure.code] += 1
            if notice.late is not None:
                self._lateness.add(notice.late.total_seconds())

    def sts_took(self, seconds: float) -> None:
        """Count one request to STS."""
        with self._lock:
            self._sts.add(seconds)

    def text(self, status: Status, *, commits: int) -> bytes:
        """Return everything in the text format of Prometheus.

        Args:
            status: of the daemon and of all profiles.
            commits: how often the credentials file was written.
        """
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

        # One of our own: the library's describes this Python, and beside the node exporter's own
        # series in a text file those would be taken for mistakes.
        registry = CollectorRegistry()
        registry.register(_Shown([*self._counts(commits), *_of_daemon(status), *_of(status)]))
        return generate_latest(registry)

    def _counts(self, commits: int) -> Iterator[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415
            CounterMetricFamily,
            HistogramMetricFamily,
        )

        failures = CounterMetricFamily(
            "assumed_refresh_failures", "Refreshes that failed, each try.", labels=["code"]
        )
        with self._lock:
            for code, count in self._failures.items():
                failures.add_metric([code], count)
            histograms = [
                HistogramMetricFamily(name, text, buckets=held.buckets(), sum_value=held.sum)
                for name, text, held in (
                    (
                        "assumed_sts_request_duration_seconds",
                        "How long STS took over a request.",
                        self._sts,
                    ),
                    (
                        "assumed_refresh_lateness_seconds",
                        "From when a refresh was due until it was done, failed tries and all.",
                        self._lateness,
                    ),
                )
            ]
        yield failures
        yield from histograms
        yield CounterMetricFamily(
            "assumed_credentials_file_commits", "Writes of the credentials file.", value=commits
        )


class _Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, math.inf)
        self._counts = [0] * len(self._bounds)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound with how many values are not above it."""
        below = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip(self._bounds, self._counts, strict=True):
            below += count
            found.append(("+Inf" if math.isinf(bound) else str(bound), below))
        return found


class _Shown:
    """What a registry collects from: all is there already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics


def _of_daemon(status: Status) -> Iterator[Metric]:
    daemon = status.daemon
    if daemon is None:
        return
    yield _gauge("assumed_build_info", "The version that runs.", {(daemon.version,): 1}, "version")
    for name, text, value in _daemon_values(daemon):
        yield _gauge(name, text, {(): value})


def _daemon_values(daemon: DaemonStatus) -> Iterator[tuple[str, str, float]]:
    yield (
        "assumed_start_time_seconds",
        "When the daemon was started, in seconds since 1970.",
        daemon.started_at.timestamp(),
    )
    yield (
        "assumed_configuration_refused",
        "1 while the configuration on disk is wrong and not used.",
        daemon.config_error is not None,
    )
    yield (
        "assumed_clock_skew_seconds",
        "How far this machine's clock is ahead of STS's; 0 where under a minute.",
        daemon.clock_skew_seconds,
    )


def _of(status: Status) -> Iterator[Metric]:
    rows = status.profiles
    states: _Values = {
        (row.profile, str(state)): float(row.state is state)
        for row in rows
        for state in ProfileState
    }
    yield _gauge("assumed_profile_state", "1 for the state it is in.", states, "profile", "state")
    kept = [row for row in rows if row.state is not ProfileState.DISABLED]
    yield _times(
        "assumed_profile_expiration_timestamp_seconds",
        "When the session ends, by STS's clock, in seconds since 1970.",
        {row.profile: row.expires_at for row in kept},
    )
    yield _times(
        "assumed_profile_next_attempt_timestamp_seconds",
        "When it is refreshed, or tried again, in seconds since 1970.",
        {row.profile: row.next_attempt_at for row in kept},
    )
    failures: _Values = {(row.profile,): row.consecutive_failures for row in kept}
    yield _gauge(
        "assumed_profile_consecutive_failures",
        "Refreshes that failed since the last one that worked.",
        failures,
        "profile",
    )
    yield _refreshes(kept)


def _refreshes(rows: Sequence[ProfileStatus]) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    family = CounterMetricFamily(
        "assumed_profile_refreshes", "New sessions since the daemon began.", labels=["profile"]
    )
    for row in rows:
        family.add_metric([row.profile], row.refreshes)
    return family


def _times(name: str, text: str, times: Mapping[str, datetime | None]) -> Metric:
    known: _Values = {(profile,): at.timestamp() for profile, at in times.items() if at is not None}
    return _gauge(name, text, known, "profile")


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
