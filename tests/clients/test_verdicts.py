"""What the log of the server says about a client, and that docs/clients.md says the same."""

from __future__ import annotations

import json

import pytest

from tests.clients.programs import CLIENTS
from tests.clients.verdicts import BEGIN, END, PAGE, RESULTS, WAYS, Request, judge, table

# Sessions of 15 seconds; the next one starts 9 seconds later.
SESSIONS = {f"ASIA{number}": 9.0 * number + 15 for number in range(100)}
OTHER = "AKIAOTHER"


def calls(*, until: float, reads_every: float) -> list[Request]:
    """Return a request each second, of a client that reads its keys every so many seconds."""
    found = []
    for at in range(int(until)):
        read_at = at - at % reads_every
        key = f"ASIA{int(read_at // 9)}"
        found.append(Request(at, key, 200 if at < SESSIONS[key] else 403))
    return found


@pytest.mark.parametrize(
    ("requests", "verdict"),
    [
        (calls(until=40, reads_every=1), "yes"),
        (calls(until=40, reads_every=9), "yes"),
        (calls(until=30, reads_every=1), "one session"),
        (calls(until=60, reads_every=1000), "one session"),
        (calls(until=14, reads_every=1000), "one session"),
        (calls(until=305, reads_every=300), "every 5 min"),
        # A tool that calls at its start and at its end.
        ([Request(0, "ASIA0", 200), Request(50, "ASIA5", 200)], "yes"),
        # One that looks for fresh keys because it is refused.
        ([*calls(until=18, reads_every=1000), *calls(until=50, reads_every=1)[18:]], "yes"),
        ([Request(at, "ASIA0", 403) for at in range(40)], "no"),
        ([Request(at, None, 403) for at in range(40)], "no"),
        ([], "no"),
        ([*calls(until=40, reads_every=1), Request(41, OTHER, 200)], "other keys"),
        ([Request(0, OTHER, 403)], "other keys"),
    ],
)
def test_the_log_gives_a_verdict(requests: list[Request], verdict: str) -> None:
    assert judge(requests, SESSIONS) == verdict


def test_the_page_has_the_table_that_the_results_give() -> None:
    page = PAGE.read_text()
    assert (
        page.partition(BEGIN)[2].partition(END)[0].strip()
        == table(json.loads(RESULTS.read_text())).strip()
    )


def test_every_client_has_been_run_by_every_way() -> None:
    results = json.loads(RESULTS.read_text())["clients"]
    assert [row["name"] for row in results] == [client.name for client in CLIENTS]
    assert all(list(row["ways"]) == list(WAYS) for row in results)


def test_no_client_takes_other_keys_under_exec() -> None:
    for row in json.loads(RESULTS.read_text())["clients"]:
        assert {row["ways"]["exec"], row["ways"]["env"]}.isdisjoint({"other keys"}), row["name"]
