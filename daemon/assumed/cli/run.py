"""`assumed run`: the daemon in the foreground."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from assumed.cli.options import Command, Options, common_options
from assumed.config import loader
from assumed.errors import AssumedError, ConfigurationError, LocalFaultError
from assumed.fsutil import local_fault_hint, shortage
from assumed.logs import LogFormat, event


@click.command("run", cls=Command, examples=("assumed run", "assumed run --log-format json"))
@common_options(
    log_level="info",
    log_destination="the systemd journal, or else standard error",
    is_interruptible=False,
)
@click.pass_context
def command(context: click.Context, options: Options) -> None:
    """Keep all profiles refreshed until stopped.

    SIGHUP reloads the configuration; SIGTERM and Ctrl-C stop the daemon.
    """
    from assumed.app.daemon import (  # noqa: PLC0415 - its imports take most of a second
        EXIT_STATUSES,
        STOP_TIMEOUT_SECONDS,
        Daemon,
        MainLoopEvent,
    )
    from assumed.app.start_up import StartUp  # noqa: PLC0415
    from assumed.clock import SystemClock  # noqa: PLC0415
    from assumed.logs.journald import journal_handler  # noqa: PLC0415
    from assumed.platform.hardening import harden_process, limit_malloc_arenas  # noqa: PLC0415
    from assumed.platform.signal_aware_queue import SignalAwareQueue  # noqa: PLC0415
    from assumed.platform.systemd.listener_store import SystemdListenerStore  # noqa: PLC0415
    from assumed.platform.systemd.notify import SystemdNotifier  # noqa: PLC0415

    harden_process()
    limit_malloc_arenas()
    journal = journal_handler(os.environ)
    options.configure_log(journal=journal, background=True)
    notifier = SystemdNotifier(os.environ)
    listeners = SystemdListenerStore(notifier, os.environ)
    start_up = StartUp(
        notifier,
        SystemClock(),
        is_named=len(loader.places(options.config, os.environ)) == 1,
    )

    def create() -> Daemon:
        with _named_shortage():
            return Daemon(options.config_path(), os.environ, main_loop, listeners)

    main_loop = SignalAwareQueue[MainLoopEvent]()
    try:
        with _named_shortage():
            main_loop.enable_signal_wakeup(EXIT_STATUSES, stop_timeout=STOP_TIMEOUT_SECONDS)
            daemon = start_up.create(create)
            status = 0 if daemon is None else daemon.run()
        context.exit(status)
    except AssumedError as error:
        # A log that is kept has to say why the daemon did not start; a terminal shows the error.
        is_terminal_output = not journal and options.log_format is LogFormat.TEXT
        if options.log_file is not None or not is_terminal_output:
            _log_not_started(error)
        if options.log_file is not None or is_terminal_output:
            raise
        context.exit(error.exit_status)


@contextmanager
def _named_shortage() -> Iterator[None]:
    """Raise `LocalFaultError` if there is not enough memory, or no thread can be started."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        found = shortage(error)
        if found is None:
            raise
        raise LocalFaultError(
            f"assumed cannot run: {found.strerror}",
            hint=f"{local_fault_hint(found)}; it needs 16 tasks and 64 MiB",
        ) from error


def _log_not_started(error: AssumedError) -> None:
    problems = error.problems if isinstance(error, ConfigurationError) else (error.message,)
    for problem in problems:
        event(
            logging.ERROR,
            "daemon_not_started",
            error_code=error.code,
            error=problem,
            hint=error.hint,
        )
