"""Construction of the objects that the daemon, the standalone commands and `exec` share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from assumed import paths
from assumed.app.source_lookup import SourceLookup
from assumed.clock import Clock
from assumed.config import loader
from assumed.credential_sources.base import CredentialSources, SourceProfiles
from assumed.credential_sources.mfa import MfaSessions
from assumed.engine.executor import SLOW_LANE, WorkerPool
from assumed.engine.heartbeat import HEARTBEAT, HeartbeatScheduler
from assumed.engine.refresher import Refresher, Store
from assumed.errors import (
    ConfigurationError,
    ConfigurationMissingError,
    InvalidConfigurationError,
)
from assumed.models import Configuration, Credentials
from assumed.storage import CredentialsFile
from assumed.sts.client import StsClient

MAX_THREADS = 32
_MAX_SLOW_THREADS = 8


def load_configuration(path: Path, sources: SourceProfiles | SourceLookup) -> Configuration:
    """Read and validate a configuration file.

    Raises:
        ConfigurationError: with every problem in it.
        ConfigurationUnavailableError: it cannot be read now.
        SourceUnavailableError: the AWS files, which have its source profiles, cannot be read.
    """
    lookup = sources if isinstance(sources, SourceLookup) else SourceLookup(sources)
    lookup.begin()
    return loader.load(
        path,
        user=paths.user_name(),
        host=socket.gethostname(),
        source_exists=lookup.exists,
        source_names=lookup.names,
    )


def load_first_configuration(path: Path, lookup: SourceLookup) -> Configuration:
    """Read a configuration as `load_configuration`, at the start of the daemon.

    Raises:
        ConfigurationMissingError: there is no configuration; or its only problem is that there
            are no AWS files, as before the home directory is mounted.
        ConfigurationError, SourceUnavailableError: as `load_configuration`.
    """
    try:
        return load_configuration(path, lookup)
    except InvalidConfigurationError as error:
        if lookup.has_files:
            raise
        # It raises the same error if there are other problems.
        loader.load(path, user=paths.user_name(), host=socket.gethostname())
        raise ConfigurationMissingError(error.problems, hint=error.hint) from error


def credentials_path(configuration: Configuration, environ: Mapping[str, str]) -> Path:
    """Return the path of the credentials file to write."""
    if configuration.credentials_file is not None:
        return configuration.credentials_file
    return Path(paths.aws_credentials_file(environ))


def credentials_file(configuration: Configuration, environ: Mapping[str, str]) -> CredentialsFile:
    """Return the credentials file to write, in the mode of the configuration.

    Raises:
        ConfigurationError: `AWS_SHARED_CREDENTIALS_FILE` is empty.
    """
    path = credentials_path(configuration, environ)
    if path == Path():
        raise ConfigurationError(
            ["AWS_SHARED_CREDENTIALS_FILE is empty, so AWS tools read no credentials file"],
            hint="unset it, or set it to the path of a file",
        )
    return CredentialsFile(path, write=configuration.write)


def stored_credentials(file: CredentialsFile) -> Mapping[str, Credentials]:
    """Return the credentials in the file that this program manages, by profile.

    Raises:
        CredentialsFileError: the file cannot be read.
    """
    found = {name: stored.credentials() for name, stored in file.read().items()}
    return {name: credentials for name, credentials in found.items() if credentials is not None}


def make_refresher(
    clock: Clock, profiles: SourceProfiles, store: Store, *, sts: StsClient | None = None
) -> Refresher:
    """Return a refresher that calls STS, with the given client if there is one."""
    sts = sts or StsClient(clock, connections=MAX_THREADS)
    mfa = MfaSessions(profiles, sts, clock, mfa_directory(os.environ))
    return Refresher(clock=clock, sources=CredentialSources(profiles, mfa), sts=sts, store=store)


def mfa_directory(environ: Mapping[str, str]) -> Path:
    """Return the directory of the MFA sessions."""
    return Path(paths.state_directory(environ), "mfa")


def make_jobs(
    *,
    on_heartbeat: Callable[[], None] = lambda: None,
    interval: timedelta = HEARTBEAT,
) -> HeartbeatScheduler:
    """Return an APScheduler with a pool of threads for fast calls and one for calls that hang.

    Args:
        on_heartbeat: called from its thread.
        interval: the longest time between two heartbeats.
    """
    jobs = HeartbeatScheduler(on_heartbeat, every=interval)
    jobs.add_executor(WorkerPool(MAX_THREADS))
    jobs.add_executor(WorkerPool(_MAX_SLOW_THREADS), SLOW_LANE)
    return jobs
