"""The daemon, if a command should use it."""

from __future__ import annotations

import os

from assumed.cli.options import Options
from assumed.client.api_client import DaemonClient, find_daemon
from assumed.paths import user_name


def connect_to_daemon(options: Options) -> DaemonClient | None:
    """Return a client of this user's daemon.

    None if no daemon is running, or if it uses another configuration than `--config` names.

    Raises:
        DaemonUnreachableError: the daemon does not answer, or its socket is not trusted.
    """
    client = find_daemon(os.environ, user_name())
    if client is None or options.config is None:
        return client
    status = client.status()
    is_same = status.daemon is not None and status.daemon.config == str(options.config_path())
    return client if is_same else None
