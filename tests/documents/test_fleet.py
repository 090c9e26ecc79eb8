"""The fleet of the simulation is the daemon's, and docs/fleet.md shows what was simulated."""

from __future__ import annotations

import json
from dataclasses import replace

from bench.fleet import COLD_START, OUTAGE, Daemons, Scripts, simulate

from tests.repository import REPOSITORY


def test_a_fleet_that_starts_at_once_is_spread_and_a_script_is_not() -> None:
    short = replace(COLD_START, lasts=4800.0)
    ours, _ = simulate(short, 200, 10, Daemons(200, 10))
    script, _ = simulate(short, 200, 10, Scripts())
    assert ours.roles == script.roles == 2000
    assert ours.peak_a_second < 30 < script.peak_a_second
    assert ours.all_fresh_seconds < 60


def test_after_an_outage_everyone_is_back() -> None:
    row, traffic = simulate(OUTAGE, 50, 10, Daemons(50, 10))
    assert 0 < row.all_fresh_seconds < 600
    begin, end = map(int, OUTAGE.outage or (0, 0))
    assert not any(traffic.accepted[second] for second in range(begin, end))
    assert row.refused > row.roles


def test_the_documentation_shows_what_was_simulated() -> None:
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (REPOSITORY / "docs" / "fleet.md").read_text().splitlines()
        if line.count("|") == 8
    ][2:]
    result = json.loads((REPOSITORY / "bench" / "results" / "fleet.json").read_text())
    rows = [*result["scenarios"], *result["sweep"]]
    shown = {(row[0], row[1]): row[2:] for row in table}
    assert len(shown) == len(table)
    for row in rows:
        cells = shown[row["scenario"], f"{row['roles'] // result['roles']:,}"]
        fresh, peak = f"{round(row['all_fresh_seconds'])} s", f"{row['peak_a_second']}/s"
        if row["who"] == Daemons.who:
            assert cells[:3] == [fresh, f"{row['refused'] / row['roles']:.1f}", peak]
        else:
            assert cells[3:] == [fresh, peak]
