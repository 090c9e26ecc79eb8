"""A short form of the race of bench/race.py: other writers and the daemon at the same time.

A reader can see half a file while another program truncates and writes it, with or without a
daemon. Those torn reads are counted separately from the ones that the daemon would cause.
"""

from __future__ import annotations

import json
import re

import pytest
from bench.race import Row, race

from tests.repository import REPOSITORY

EDITS = 60


def check_daemon(row: Row) -> None:
    assert row.commits > 0
    assert not row.long_term_keys_lost
    assert row.commits_lost == 0
    assert row.torn_for_good == 0
    assert row.settled_torn == 0


@pytest.mark.parametrize("writer", ["awscli", "append", "rename"])
def test_race_with_another_writer_loses_no_edit(writer: str) -> None:
    row = race([writer], daemon="assumed", edits=EDITS)

    assert (row.edits, row.edits_lost) == (EDITS, 0)
    check_daemon(row)


def test_race_with_two_other_writers_loses_no_edit_of_the_renaming_one() -> None:
    row = race(["append", "rename"], daemon="assumed", edits=EDITS)

    # The renaming program drops what was appended since it read: also without a daemon.
    assert row.edits_lost_of["rename"] == 0
    check_daemon(row)


def test_documentation_shows_the_measured_race() -> None:
    section = (REPOSITORY / "docs" / "credentials-file.md").read_text().partition("## The race")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")[2:]]
        for line in section.splitlines()
        if re.search(r"\d+ of \d+", line)
    ]

    measured = json.loads((REPOSITORY / "bench" / "results" / "race.json").read_text())["races"]
    assert rows == [
        [
            str(row["commits"]),
            f"{row['edits_lost']} of {row['edits']}",
            "yes" if row["long_term_keys_lost"] else "no",
            f"{row['torn']} of {row['reads']}",
            str(row["torn_for_good"]),
        ]
        for row in measured
    ]
    of_assumed = [row for row in measured if row["daemon"] == "assumed"]
    assert not any(row["torn_for_good"] or row["settled_torn"] for row in of_assumed)
    assert of_assumed[-1]["edits_lost_of"]["rename"] == 0
