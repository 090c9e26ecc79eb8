"""A year of faults, in a time that only the test moves; `bench/chaos.py --years` has more."""

from __future__ import annotations

from tests.slow.year import MAX_NEW_ELEMENTS, Year

SEED = 0


def test_in_a_year_of_faults_no_profile_is_lost_no_status_lies_and_no_table_grows() -> None:
    report = Year(SEED).simulate()
    assert sum(report.faults.values()) > 700
    assert min(report.faults.values()) > 20
    assert report.lost == []
    assert report.lies == []
    assert report.late == []
    assert max(report.tables) <= report.tables[0] + MAX_NEW_ELEMENTS
