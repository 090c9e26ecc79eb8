"""`assumed service`: the daemon as a systemd service."""

from __future__ import annotations

import click

from assumed.cli.options import CommandGroup
from assumed.cli.service_control import logs, restart, status
from assumed.cli.service_install import install, uninstall


@click.group(
    "service",
    cls=CommandGroup,
    subcommand_metavar="COMMAND [ARGUMENTS]",
    examples=("assumed service install", "assumed service status", "assumed service logs -f"),
)
def command() -> None:
    """Run the daemon as a systemd service.

    Without --system, the service is that of this user.
    """


for part in (install, uninstall, status, restart, logs):
    command.add_command(part)
