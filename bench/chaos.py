"""Thousands of simulated days, with a fault every few minutes.

`python -m bench.chaos [--days 5000]` prints the result and writes bench/results/chaos.json;
tests/slow/test_simulated_days.py simulates the first 200.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.slow.simulation import Day, Report

_RESULTS = Path(__file__).parent / "results" / "chaos.json"


def simulate(seed: int) -> Report:
    """Simulate the day of one seed."""
    logging.disable(logging.CRITICAL)
    return Day(seed).simulate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulation; return 1 if a day went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=5000)
    days = parser.parse_args(arguments).days
    began_at = time.monotonic()
    with multiprocessing.Pool() as pool:
        reports = pool.map(simulate, range(days), chunksize=10)
    result = summarize(reports, seconds=time.monotonic() - began_at)
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(_RESULTS.read_text())
    keys = (
        "sessions_expired_needlessly",
        "minutes_valid_but_untrue",
        "called_too_often",
        "not_recovered_within_5_minutes",
    )
    return int(any(result[key] for key in keys))


def summarize(reports: Sequence[Report], *, seconds: float) -> dict[str, object]:
    """Return the figures of all days, which took this long."""
    recovered = sorted(report.recovered_after.total_seconds() for report in reports)
    return {
        "days": len(reports),
        "faults": sum(len(report.faults) for report in reports),
        "sessions_expired_needlessly": sum(len(report.expired) for report in reports),
        "minutes_checked": sum(report.minutes_checked for report in reports),
        "minutes_valid_but_untrue": sum(len(report.untrue) for report in reports),
        "minutes_valid_but_unknowable": sum(report.minutes_unknowable for report in reports),
        "called_too_often": sum(len(report.called_too_often) for report in reports),
        "not_recovered_within_5_minutes": sum(bool(report.not_recovered) for report in reports),
        "recovered_after_seconds": {
            "median": recovered[len(recovered) // 2],
            "p99": recovered[len(recovered) * 99 // 100],
            "max": recovered[-1],
        },
        "seconds": round(seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
