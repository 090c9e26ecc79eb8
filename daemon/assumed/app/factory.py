"""Makes the objects that `run` and `once` share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from assumed import paths
from assumed.clock import Clock
from assumed.config import loader
from assumed.credential_sources.base import CredentialSources, SourceProfiles
from assumed.credential_sources.mfa import MfaSessions
from assumed.engine.executor import SLOW_LANE, WorkerPool
from assumed.engine.heartbeat import HEARTBEAT, HeartbeatScheduler
from assumed.engine.refresher import Refresher, Store
from assumed.errors import ConfigurationError
from assumed.models import Configuration, Credentials
from assumed.storage import CredentialsFile
from assumed.sts.client import StsClient

MOST_THREADS = 32
_SLOW_THREADS = 8


def load_configuration(path: Path, sources: SourceProfiles) -> Configuration:
    """Read and check a configuration file.

    Raises:
        ConfigurationError: with every mistake in it.
        SourceUnavailableError: the AWS files, which hold its source profiles, can't be read.
    """
    known = frozenset(sources.names())
    return loader.load(
        path, user=paths.user_name(), host=socket.gethostname(), source_exists=known.__contains__
    )


def credentials_path(configuration: Configuration, environ: Mapping[str, str]) -> Path:
    """Return the path of the credentials file that is kept fresh."""
    if configuration.credentials_file is not None:
        return configuration.credentials_file
    return Path(paths.aws_credentials_file(environ))


def credentials_file(configuration: Configuration, environ: Mapping[str, str]) -> CredentialsFile:
    """Return the credentials file that is kept fresh, written as the configuration says.

    Raises:
        ConfigurationError: the environment says that there is none.
    """
    path = credentials_path(configuration, environ)
    if path == Path():
        raise ConfigurationError(
            ["AWS_SHARED_CREDENTIALS_FILE is empty, so AWS tools read no credentials file"],
            hint="unset it, or set it to the path of a file",
        )
    return CredentialsFile(path, write=configuration.write)


def stored_credentials(file: CredentialsFile) -> Mapping[str, Credentials]:
    """Return what the file holds under our mark, by profile.

    Raises:
        CredentialsFileError: it can't be read.
    """
    held = {name: stored.credentials() for name, stored in file.read().items()}
    return {name: credentials for name, credentials in held.items() if credentials is not None}


def make_refresher(
    clock: Clock, profiles: SourceProfiles, store: Store, *, sts: StsClient | None = None
) -> Refresher:
    """Return a refresher that calls the real STS, by `sts` where that is given."""
    sts = sts or StsClient(clock, connections=MOST_THREADS)
    mfa = MfaSessions(profiles, sts, clock, mfa_folder(os.environ))
    return Refresher(clock=clock, sources=CredentialSources(profiles, mfa), sts=sts, store=store)


def mfa_folder(environ: Mapping[str, str]) -> Path:
    """Return where MFA sessions are kept."""
    return Path(paths.state_directory(environ), "mfa")


def make_jobs(
    *,
    beat: Callable[[], None] = lambda: None,
    every: timedelta = HEARTBEAT,
) -> HeartbeatScheduler:
    """Return an APScheduler that is not started yet, with as many threads as the work needs."""
    jobs = HeartbeatScheduler(beat, every=every)
    jobs.add_executor(WorkerPool(MOST_THREADS))
    jobs.add_executor(WorkerPool(_SLOW_THREADS), SLOW_LANE)
    return jobs
