"""Draws `docs/status.svg`: `assumed status` on an afternoon with two failing profiles.

The scheduler, the errors, their hints and the table are the program's own; the clock and STS are
those of the unit tests.
"""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta
from pathlib import Path

from botocore.exceptions import ClientError, UnauthorizedSSOTokenError
from freezegun import freeze_time
from rich.console import Console

from assumed import __version__
from assumed.cli.status_table import print_table
from assumed.credential_sources.errors import translate_source_error
from assumed.errors import AssumedError
from assumed.models import DaemonStatus, ProfileDefinition, Status
from assumed.sts.errors import translate_error
from tests.fakes import NOON, Simulation, role

PICTURE = Path(__file__).parents[1] / "docs" / "status.svg"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

SSO_LOGIN = "aws sso login --sso-session work"


def role_of(
    profile: str, account: str, hours: int = 1, parent: str | None = None
) -> ProfileDefinition:
    return role(
        profile,
        parent=parent,
        role_arn=f"arn:aws:iam::{account}:role/{profile}",
        duration_seconds=hours * 3600,
    )


def denied(definition: ProfileDefinition) -> AssumedError:
    """Return the error of a caller that the trust policy of a role does not name."""
    caller = "arn:aws:iam::641879703613:user/jane"
    text = f"User: {caller} is not authorized to perform: sts:AssumeRole"
    response = {"Error": {"Code": "AccessDenied", "Message": text}}
    return translate_error(definition, ClientError(response, "AssumeRole"))  # type: ignore[arg-type]  # as STS


def logged_out() -> AssumedError:
    """Return the error of a source profile whose SSO login has expired."""
    return translate_source_error("analytics-sso", UnauthorizedSSOTokenError(), login=SSO_LOGIN)


def afternoon() -> tuple[Status, datetime]:
    """Return the status of five profiles in the afternoon, and that time."""
    deploy = role_of("deploy", "222222222222")
    definitions = (
        role_of("s3-read-only", "641879703613"),
        role_of("notebooks", "641879703613", hours=8),
        deploy,
        role_of("deploy-audit", "222222222222", parent="s3-read-only"),
        role_of("analytics", "333333333333"),
    )
    with freeze_time(NOON) as frozen:
        simulation = Simulation(frozen)  # type: ignore[arg-type]  # it is no ticking one
        simulation.start(*definitions)
        simulation.run_for(4 * HOUR + 16 * MINUTE)
        simulation.sts.failing |= {"deploy": denied(deploy), "analytics": logged_out()}
        simulation.run_for(27 * MINUTE)
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
    # Without fonts from another server: a page that shows the picture makes no request.
    return re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.S)


if __name__ == "__main__":
    PICTURE.write_text(drawn())
