"""Metrics for Prometheus: event counters, and gauges of the current status.

The gauges are computed from the status when the metrics are read, so nothing has to keep them up to
date. prometheus-client is only imported then.

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
_LATENESS_SECONDS = (0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_Values = Mapping[tuple[str, ...], float]
"""Values by the values of their labels."""
_FAILURES = {EventType.FAILED, EventType.NEEDS_LOGIN}


class Metrics:
    """Counts failures, lateness and STS requests; thread-safe.

    Args:
        user: a label of every series, so that the daemons of a machine have different ones.
    """

    def __init__(self, user: str) -> None:
        self._user = user
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()
        self._sts_requests = _Histogram(_STS_SECONDS)
        self._lateness = _Histogram(_LATENESS_SECONDS)

    def on_event(self, profile_event: ProfileEvent) -> None:
        """Count an event of a profile."""
        with self._lock:
            if profile_event.event_type in _FAILURES and profile_event.failure is not None:
                self._failures[profile_event.failure.code] += 1
            if profile_event.late is not None:
                self._lateness.add(profile_event.late.total_seconds())

    def record_sts_request(self, seconds: float) -> None:
        """Record the duration of one request to STS."""
        with self._lock:
            self._sts_requests.add(seconds)

    def text(
        self, status: Status, *, file_writes: int, internal_errors: Mapping[str, int]
    ) -> bytes:
        """Return all metrics in the text format of Prometheus.

        Args:
            status: the status of the daemon and of all profiles.
            file_writes: how many times the credentials file was written.
            internal_errors: how many errors each part of the daemon has had.
        """
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

        # Not the default registry: it describes this Python process, and the node exporter would
        # reject those series in a text file as duplicates of its own.
        registry = CollectorRegistry()
        registry.register(
            _Collector(
                [
                    *self._counters(file_writes, internal_errors),
                    *_daemon_metrics(status),
                    *_profile_metrics(status),
                ],
                self._user,
            )
        )
        return generate_latest(registry)

    def _counters(self, file_writes: int, internal_errors: Mapping[str, int]) -> Iterator[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415
            CounterMetricFamily,
            HistogramMetricFamily,
        )

        failures = CounterMetricFamily(
            "assumed_refresh_failures", "Failed refresh attempts.", labels=["code"]
        )
        with self._lock:
            for code, count in self._failures.items():
                failures.add_metric([code], count)
            histograms = [
                HistogramMetricFamily(
                    name, text, buckets=histogram.buckets(), sum_value=histogram.sum
                )
                for name, text, histogram in (
                    (
                        "assumed_sts_request_duration_seconds",
                        "Duration of requests to STS.",
                        self._sts_requests,
                    ),
                    (
                        "assumed_refresh_lateness_seconds",
                        "Time from when a refresh was due until it succeeded.",
                        self._lateness,
                    ),
                )
            ]
        yield failures
        yield from histograms
        yield CounterMetricFamily(
            "assumed_credentials_file_writes",
            "Writes of the credentials file.",
            value=file_writes,
        )
        errors = CounterMetricFamily(
            "assumed_internal_errors", "Errors in assumed itself that were caught.", labels=["part"]
        )
        for part, count in internal_errors.items():
            errors.add_metric([part], count)
        yield errors


class _Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, math.inf)
        self._counts = [0] * len(self._bounds)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each upper bound with the number of values that do not exceed it."""
        below = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(self._bounds, self._counts, strict=True):
            below += count
            buckets.append(("+Inf" if math.isinf(bound) else str(bound), below))
        return buckets


class _Collector:
    """A collector of metrics that are computed already; adds the label `user` to each series."""

    def __init__(self, metrics: Sequence[Metric], user: str) -> None:
        self._metrics = metrics
        for metric in metrics:
            metric.samples = [
                sample._replace(labels={**sample.labels, "user": user}) for sample in metric.samples
            ]

    def collect(self) -> Sequence[Metric]:
        return self._metrics


def _daemon_metrics(status: Status) -> Iterator[Metric]:
    daemon = status.daemon
    if daemon is None:
        return
    yield _gauge("assumed_build_info", "The running version.", {(daemon.version,): 1}, "version")
    for name, text, value in _daemon_values(daemon):
        yield _gauge(name, text, {(): value})


def _daemon_values(daemon: DaemonStatus) -> Iterator[tuple[str, str, float]]:
    yield (
        "assumed_start_time_seconds",
        "When the daemon started, as a Unix timestamp.",
        daemon.started_at.timestamp(),
    )
    yield (
        "assumed_config_rejected",
        "1 while the configuration on disk is rejected and the previous one is active.",
        daemon.config_error is not None,
    )
    yield (
        "assumed_clock_skew_seconds",
        "How far the local clock is ahead of STS; 0 if less than a minute.",
        daemon.clock_skew_seconds,
    )


def _profile_metrics(status: Status) -> Iterator[Metric]:
    rows = status.profiles
    states: _Values = {
        (row.profile, str(state)): float(row.state is state)
        for row in rows
        for state in ProfileState
    }
    yield _gauge("assumed_profile_state", "Current state (1 = active).", states, "profile", "state")
    enabled = [row for row in rows if row.state is not ProfileState.DISABLED]
    yield _timestamps(
        "assumed_profile_expiration_timestamp_seconds",
        "When the session expires, by the clock of STS, as a Unix timestamp.",
        {row.profile: row.expires_at for row in enabled},
    )
    yield _timestamps(
        "assumed_profile_next_attempt_timestamp_seconds",
        "When the next refresh or retry is due, as a Unix timestamp.",
        {row.profile: row.next_attempt_at for row in enabled},
    )
    failures: _Values = {(row.profile,): row.consecutive_failures for row in enabled}
    yield _gauge(
        "assumed_profile_consecutive_failures",
        "Failed refreshes since the last success.",
        failures,
        "profile",
    )
    yield _refreshes(enabled)


def _refreshes(rows: Sequence[ProfileStatus]) -> Metric:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    family = CounterMetricFamily(
        "assumed_profile_refreshes", "New sessions since the daemon started.", labels=["profile"]
    )
    for row in rows:
        family.add_metric([row.profile], row.refreshes)
    return family


def _timestamps(name: str, text: str, times: Mapping[str, datetime | None]) -> Metric:
    known: _Values = {(profile,): at.timestamp() for profile, at in times.items() if at is not None}
    return _gauge(name, text, known, "profile")


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
