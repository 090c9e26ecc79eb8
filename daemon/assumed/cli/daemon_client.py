"""The daemon, if a command should use it."""

from __future__ import annotations

import functools
import os

import click

from assumed import __version__
from assumed.cli.options import Options
from assumed.client.api_client import DaemonClient, find_daemon
from assumed.errors import AssumedError
from assumed.paths import user_name
from assumed.platform.systemd.process_unit import restart_advice
from assumed.text import printable


def connect_to_daemon(options: Options) -> DaemonClient | None:
    """Return a client of this user's daemon, which reports a daemon of another version.

    None if no daemon is running, or if it uses another configuration than `--config` names.

    Raises:
        DaemonUnreachableError: the daemon does not answer, or its socket is not trusted.
    """
    client = find_daemon(os.environ, user_name(), on_version=_report_other_version)
    if client is None or options.config is None:
        return client
    status = client.status()
    is_same = status.daemon is not None and status.daemon.config == str(options.config_path())
    return client if is_same else None


@functools.cache
def _report_other_version(version: str) -> None:
    """Say on standard error how to restart a daemon of another version, once."""
    if version == __version__:
        return
    try:
        client = find_daemon(os.environ, user_name())
        daemon = None if client is None else client.status().daemon
    except AssumedError:
        daemon = None
    advice = "restart it" if daemon is None else restart_advice(daemon.pid)
    click.echo(
        printable(f"note: the daemon is of version {version}, this command of {__version__}: ")
        + advice,
        err=True,
    )
