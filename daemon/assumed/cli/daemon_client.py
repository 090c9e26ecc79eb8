"""Whether the daemon answers a command, or the command does the work itself."""

from __future__ import annotations

import os

from assumed.cli.options import Options
from assumed.client.api_client import DaemonClient, find_daemon
from assumed.paths import user_name


def connect_to_daemon(options: Options) -> DaemonClient | None:
    """Return the running daemon of this user; None where none runs, or not with this `--config`.

    Raises:
        DaemonUnreachableError: it does not answer, or its socket can't be trusted.
    """
    client = find_daemon(os.environ, user_name())
    if client is None or options.config is None:
        return client
    status = client.status()
    is_same = status.daemon is not None and status.daemon.config == str(options.config_path())
    return client if is_same else None
