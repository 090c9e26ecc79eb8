"""The race of bench/race.py in short: other writers and the daemon, all at once.

Who reads while another program truncates and writes sees half a file, with a daemon or without
one: those torn reads are counted, and what the daemon answers for is told apart from them.
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
def test_beside_another_writer_nothing_of_theirs_or_ours_is_lost(writer: str) -> None:
    row = race([writer], daemon="assumed", edits=EDITS)

    assert (row.edits, row.edits_lost) == (EDITS, 0)
    check_daemon(row)


def test_beside_two_other_writers_only_they_lose_edits_to_each_other() -> None:
    row = race(["append", "rename"], daemon="assumed", edits=EDITS)

    # Who renames drops what was appended since they read: that happens without a daemon too.
    assert row.edits_lost_of["rename"] == 0
    check_daemon(row)


def test_the_documentation_shows_the_race_as_it_was_measured() -> None:
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
