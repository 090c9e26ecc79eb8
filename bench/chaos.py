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
    recovered = sorted(report.recovered_after.total_seconds() for report in reports)
    result: dict[str, Any] = {
        "days": days,
        "faults": sum(len(report.faults) for report in reports),
        "sessions_expired_needlessly": sum(len(report.expired) for report in reports),
        "called_too_often": sum(len(report.called_too_often) for report in reports),
        "not_recovered_within_5_minutes": sum(bool(report.not_recovered) for report in reports),
        "recovered_after_seconds": {
            "median": recovered[len(recovered) // 2],
            "p99": recovered[len(recovered) * 99 // 100],
            "max": recovered[-1],
        },
        "years": {
            "years": years,
            "seeds": f"0 to {years - 1}",
            "faults": sum((report.faults for report in of_years), Counter()),
            "lost": sum(len(report.lost) for report in of_years),
            "lies": sum(len(report.lies) for report in of_years),
            "late": sum(len(report.late) for report in of_years),
            "growth_of_tables": max(
                (report.tables[-1] - report.tables[0] for report in of_years), default=0
            ),
        },
        "seconds": round(time.monotonic() - began_at),
    }
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(_RESULTS.read_text())
    keys = ("sessions_expired_needlessly", "called_too_often", "not_recovered_within_5_minutes")
    of_all = result["years"]
    is_wrong = any(of_all[key] for key in ("lost", "lies", "late"))
    return int(is_wrong or any(result[key] for key in keys))


if __name__ == "__main__":
    sys.exit(main())
