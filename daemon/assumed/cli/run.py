"""`assumed run`: the daemon, in the foreground."""

from __future__ import annotations

import logging
import os

import click

from assumed.cli.options import Options, common_options
from assumed.errors import AssumedError, ConfigurationError
from assumed.logs import LogFormat, event


@click.command("run")
@common_options
@click.pass_context
def command(context: click.Context, options: Options) -> None:
    """Keep all profiles fresh until stopped.

    SIGHUP reloads the configuration; SIGTERM and Ctrl-C stop.

    Example: assumed run --log-format json
    """
    from assumed.app.daemon import Daemon  # noqa: PLC0415 - what it imports takes most of a second
    from assumed.app.start_up import StartUp  # noqa: PLC0415
    from assumed.clock import SystemClock  # noqa: PLC0415
    from assumed.logs.journald import journal_handler  # noqa: PLC0415
    from assumed.platform.hardening import harden_process, limit_malloc_arenas  # noqa: PLC0415
    from assumed.platform.systemd.notify import SystemdNotifier  # noqa: PLC0415

    harden_process()
    limit_malloc_arenas()
    journal = journal_handler(os.environ)
    options.configure_log(level="info", journal=journal)
    start_up = StartUp(
        SystemdNotifier(os.environ),
        SystemClock(),
        is_named=options.config is not None or bool(os.environ.get("ASSUMED_CONFIG")),
    )
    try:
        daemon = start_up.create(lambda: Daemon(options.config_path(), os.environ))
        context.exit(0 if daemon is None else daemon.run())
    except AssumedError as error:
        # Who reads the log of a night finds there why nothing ran.
        is_read_by_people = not journal and options.log_format is LogFormat.TEXT
        if options.log_file is not None or not is_read_by_people:
            tell_not_started(error)
        if options.log_file is not None or is_read_by_people:
            raise
        context.exit(error.exit_status)


def tell_not_started(error: AssumedError) -> None:
    """Log why the daemon did not start, each mistake of a configuration by itself."""
    problems = error.problems if isinstance(error, ConfigurationError) else (error.message,)
    for problem in problems:
        event(
            logging.ERROR,
            "daemon_not_started",
            error_code=error.code,
            error=problem,
            hint=error.hint,
        )
