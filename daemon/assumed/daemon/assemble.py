"""Makes the objects that `run` and `once` share."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from assumed import config
from assumed.clock import Clock
from assumed.model import Configuration, Credentials
from assumed.refresh import Refresher, Store
from assumed.scheduler import HEARTBEAT, SLOW_LANE, HeartbeatScheduler
from assumed.scheduler.workers import DaemonThreads
from assumed.sources import SourceProfiles
from assumed.store import CredentialsFile
from assumed.sts import SecurityTokenService

_MOST_THREADS = 32
_SLOW_THREADS = 8


def load_configuration(path: Path, sources: SourceProfiles) -> Configuration:
    """Read and check a configuration file.

    Raises:
        ConfigurationError: with every mistake in it.
        SourceUnavailable: the AWS files, which hold its source profiles, can't be read.
    """
    known = frozenset(sources.names())
    return config.load(
        path, user=_user_name(), host=socket.gethostname(), source_exists=known.__contains__
    )


def credentials_path(configuration: Configuration, environ: Mapping[str, str]) -> Path:
    """Return the credentials file that is kept fresh."""
    if configuration.credentials_file is not None:
        return configuration.credentials_file
    return Path(environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()


def credentials_file(configuration: Configuration, environ: Mapping[str, str]) -> CredentialsFile:
    """Return the credentials file that is kept fresh, written as the configuration says."""
    return CredentialsFile(credentials_path(configuration, environ), write=configuration.write)


def stored_credentials(file: CredentialsFile) -> Mapping[str, Credentials]:
    """Return what the file holds under our mark, by profile.

    Raises:
        CredentialsFileError: it can't be read.
    """
    held = {name: stored.credentials() for name, stored in file.read().items()}
    return {name: credentials for name, credentials in held.items() if credentials is not None}


def make_refresher(clock: Clock, sources: SourceProfiles, store: Store) -> Refresher:
    """Return a refresher that calls the real STS."""
    sts = SecurityTokenService(clock, connections=_MOST_THREADS)
    return Refresher(clock=clock, sources=sources, sts=sts, store=store)


def make_jobs(
    *,
    beat: Callable[[], None] = lambda: None,
    every: timedelta = HEARTBEAT,
) -> HeartbeatScheduler:
    """Return an APScheduler that is not started yet, with as many threads as the work needs."""
    jobs = HeartbeatScheduler(beat, every=every)
    jobs.add_executor(DaemonThreads(_MOST_THREADS))
    jobs.add_executor(DaemonThreads(_SLOW_THREADS), SLOW_LANE)
    return jobs


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
