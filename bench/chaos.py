"""Thousands of simulated days, with a fault every few minutes.

`python -m bench.chaos [--days 5000] [--years 10]` prints the result and writes
bench/results/chaos.json; tests/slow/test_simulated_days.py simulates the first 200 days, and
tests/slow/test_year.py the first year.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.slow.simulation import Day, Report
from tests.slow.year import Year, YearReport

_RESULTS = Path(__file__).parent / "results" / "chaos.json"


def simulate(seed: int) -> Report:
    """Simulate the day of one seed."""
    logging.disable(logging.CRITICAL)
    return Day(seed).simulate()


def simulate_year(seed: int) -> YearReport:
    """Simulate the year of one seed."""
    logging.disable(logging.CRITICAL)
    return Year(seed).simulate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulation; return 1 if a day went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=5000)
    parser.add_argument("--years", type=int, default=10, help="with faults of more kinds (10)")
    options = parser.parse_args(arguments)
    days, years = options.days, options.years
    began_at = time.monotonic()
    with multiprocessing.Pool() as pool:
        reports = pool.map(simulate, range(days), chunksize=10)
        of_years = pool.map(simulate_year, range(years), chunksize=1)
    result = summarize(reports)
    result |= {"years": summarize_years(of_years), "seconds": round(time.monotonic() - began_at)}
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(_RESULTS.read_text())
    keys = (
        "sessions_expired_needlessly",
        "minutes_valid_but_untrue",
        "called_too_often",
        "not_recovered_within_5_minutes",
    )
    is_wrong = any(result["years"][key] for key in ("lost", "lies", "late"))
    return int(is_wrong or any(result[key] for key in keys))


def summarize(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the figures of all days."""
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
    }


def summarize_years(reports: Sequence[YearReport]) -> dict[str, Any]:
    """Return the figures of all years."""
    return {
        "years": len(reports),
        "seeds": f"0 to {len(reports) - 1}",
        "faults": sum((report.faults for report in reports), Counter()),
        "lost": sum(len(report.lost) for report in reports),
        "lies": sum(len(report.lies) for report in reports),
        "late": sum(len(report.late) for report in reports),
        "growth_of_tables": max(
            (report.tables[-1] - report.tables[0] for report in reports), default=0
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
