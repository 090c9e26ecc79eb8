"""`assumed run`: the daemon, in the foreground."""

from __future__ import annotations

import os

import click

from assumed.cli.options import Options, common_options


@click.command("run")
@common_options
@click.pass_context
def command(context: click.Context, options: Options) -> None:
    """Keep all profiles fresh until stopped.

    SIGHUP reloads the configuration; SIGTERM and Ctrl-C stop.

    Example: assumed run --log-format json
    """
    from assumed.daemon.run import Daemon  # noqa: PLC0415 - what it imports takes most of a second
    from assumed.service.journal import journal_handler  # noqa: PLC0415
    from assumed.service.process import protect  # noqa: PLC0415

    protect()
    options.configure_log(level="info", journal=journal_handler(os.environ))
    context.exit(Daemon(options.config_path(), os.environ).run())
