"""Draws `docs/status.svg`: what `assumed status` shows in an afternoon with some trouble.

The scheduler and the table are the real ones; hours and STS are those of the unit tests.
"""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta
from pathlib import Path

from freezegun import freeze_time
from rich.console import Console

from assumed import __version__
from assumed.cli.status_table import print_table
from assumed.errors import AssumeRoleDeniedError, SourceMissingError
from assumed.models import DaemonStatus, ProfileDefinition, Status
from tests.fakes import NOON, Simulation, role

PICTURE = Path(__file__).parents[1] / "docs" / "status.svg"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

DENIED = AssumeRoleDeniedError(
    "profile deploy: arn:aws:iam::222222222222:role/deploy: AccessDenied: User: "
    "arn:aws:iam::641879703613:user/jane is not authorized to perform: sts:AssumeRole",
    hint="two places must allow sts:AssumeRole: the trust policy of "
    "arn:aws:iam::222222222222:role/deploy (is there such a role?), for "
    "arn:aws:iam::641879703613:user/jane; and the policies of that caller",
)
LOGGED_OUT = SourceMissingError(
    "profile analytics: source profile analytics-sso: the SSO login has run out",
    hint="log in again: `aws sso login --sso-session work`",
)


def role_of(
    profile: str, account: str, hours: int = 1, parent: str | None = None
) -> ProfileDefinition:
    return role(
        profile,
        parent=parent,
        role_arn=f"arn:aws:iam::{account}:role/{profile}",
        duration_seconds=hours * 3600,
    )


def afternoon() -> tuple[Status, datetime]:
    """Return the status of five profiles in the afternoon, and that time."""
    definitions = (
        role_of("s3-read-only", "641879703613"),
        role_of("notebooks", "641879703613", hours=8),
        role_of("deploy", "222222222222"),
        role_of("deploy-audit", "222222222222", parent="s3-read-only"),
        role_of("analytics", "333333333333"),
    )
    with freeze_time(NOON) as frozen:
        simulation = Simulation(frozen)  # type: ignore[arg-type]  # it is no ticking one
        simulation.start(*definitions)
        simulation.run_for(4 * HOUR + 10 * MINUTE)
        simulation.sts.failing |= {"deploy": DENIED, "analytics": LOGGED_OUT}
        simulation.run_for(12 * MINUTE)
        daemon = DaemonStatus(pid=1, version=__version__, started_at=NOON, config="config.yaml")
        return Status(
            daemon=daemon, profiles=simulation.scheduler.statuses()
        ), simulation.clock.now()


def drawn() -> str:
    """Return the picture as SVG."""
    status, now = afternoon()
    console = Console(
        record=True,
        width=118,
        height=40,
        file=io.StringIO(),
        force_terminal=True,
        legacy_windows=False,
    )
    print_table(status, console, now=now)
    svg = console.export_svg(title="assumed status", unique_id="status")
    # No font from somewhere else: a page that shows this asks nobody for anything.
    return re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.S)


if __name__ == "__main__":
    PICTURE.write_text(drawn())
