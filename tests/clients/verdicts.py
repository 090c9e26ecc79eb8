"""What the log of the server says about a client, and the table of docs/clients.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.repository import REPOSITORY

RESULTS = Path(__file__).with_name("results.json")
PAGE = REPOSITORY / "docs" / "clients.md"
BEGIN, END = "<!-- made by `make clients` -->\n", "<!-- /made by `make clients` -->"

OUTLIVED = 3
"""So many sessions expire while a client that gets "yes" runs."""

WAYS = {
    "file": "file",
    "config": "process, config",
    "credentials": "process, credentials",
    "exec": "`exec`",
    "env": "`exec --env`",
}
"""The columns of the table: a `credential_process` may be in either of the AWS files."""

_REFUSED = (400, 401, 403)
_RETRY_SECONDS = 5
"""A client that is refused for longer does not look for new keys because of that."""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the log of the server.

    Args:
        at: when it arrived, in seconds.
        key: the access key id that signed it; None if it is not signed.
        status: of the response.
    """

    at: float
    key: str | None
    status: int


def judge(requests: Sequence[Request], sessions: Mapping[str, float]) -> str:
    """Return what the requests of one process show.

    Args:
        requests: in the order of their arrival.
        sessions: when the sessions of its role expire, by access key id.

    Returns:
        `yes`: it was served with fresh keys while three sessions expired. `every N min`: so too,
        but it was refused until it read the file again after N minutes. `one session`: it was
        served until its first session expired. `other keys`: another key than those of the role
        signed a request. `no`: it was never served.
    """
    if any(request.key is not None and request.key not in sessions for request in requests):
        return "other keys"
    served = [each for each in requests if each.key and each.status not in _REFUSED]
    if not served:
        return "no"
    first, last = served[0], served[-1]
    expired = sum(first.at < expiration <= last.at for expiration in sessions.values())
    if first.key == last.key or expired < OUTLIVED:
        return "one session"
    starts: dict[str | None, float] = {}
    for request in served:
        starts.setdefault(request.key, request.at)
    longest = max(later - earlier for earlier, later in pairwise(starts.values()))
    return f"every {round(longest / 60)} min" if _refused_for(requests) > _RETRY_SECONDS else "yes"


def _refused_for(requests: Sequence[Request]) -> float:
    """Return for how long, in seconds, it was refused before it was served again."""
    longest, since = 0.0, None
    for request in requests:
        if request.status in _REFUSED:
            since = request.at if since is None else since
        elif since is not None:
            longest, since = max(longest, request.at - since), None
    return longest


def table(results: Mapping[str, Any]) -> str:
    """Return the table of docs/clients.md."""
    rows = [
        f"| client | version | {' | '.join(WAYS.values())} | outlives by | note | last run |",
        "| --- " * (len(WAYS) + 5) + "|",
    ]
    for client in results["clients"]:
        found = [client["ways"].get(way, "not run") for way in WAYS]
        # Both columns with a process are one way.
        by = dict.fromkeys(
            name.partition(",")[0]
            for name, cell in zip(WAYS.values(), found, strict=True)
            if _outlives(cell)
        )
        cells = [client["name"], client["version"], *found, ", ".join(by)]
        rows.append(f"| {' | '.join([*cells, client['note'], client['run_on']])} |")
    return "\n".join(rows) + "\n"


def _outlives(cell: str) -> bool:
    return cell == "yes" or cell.startswith("every ")


def write_page() -> None:
    """Write the table that the results give into docs/clients.md."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    made = table(json.loads(RESULTS.read_text()))
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")
