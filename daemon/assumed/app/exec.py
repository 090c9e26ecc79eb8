"""`assumed exec`: builds the environment of a command, then replaces this process by it.

The process becomes the command, so its signals, exit status, terminal and job control are the
command's own. If no daemon is running, a second process keeps the credentials refreshed until the
command exits.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from assumed.app.credential_server_process import CredentialServerProcess, Provided
from assumed.app.exec_environment import (
    IsolatedAwsFiles,
    create_isolated_files,
    remove_stale_exec_dirs,
)
from assumed.app.exec_variables import ExecContext, child_environ
from assumed.app.factory import credentials_file, load_configuration, stored_credentials
from assumed.client.api_client import DaemonClient
from assumed.credential_sources.base import Settings, SourceProfiles
from assumed.engine.scheduler import require_enabled
from assumed.errors import (
    CommandNotStartedError,
    CredentialsFileError,
    DaemonUnreachableError,
)
from assumed.models import Configuration, Credentials, ProfileDefinition

_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # as in env(1) and every shell
# Python ignores these signals, and execve(2) would pass that on: `yes | head` would not end.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")


class ExecEnvironment:
    """The environment of a command under `assumed exec`.

    Args:
        profile: the name of a definition.
        environ: the environment of the user.
        static: set AWS_ACCESS_KEY_ID and related variables, valid for one session, instead of an
            endpoint that the SDKs refresh from.
        timeout: how long to retry if no daemon is running, and STS throttles or is unreachable.
    """

    def __init__(
        self, profile: str, environ: Mapping[str, str], *, static: bool, timeout: timedelta
    ) -> None:
        self._profile = profile
        self._environ = environ
        self._static = static
        self._timeout = timeout
        self._sources = SourceProfiles()

    def exec(
        self,
        command: Sequence[str],
        *,
        daemon: DaemonClient | None,
        config_path: Path | None,
        program: Sequence[str],
        options: Sequence[str] = (),
    ) -> NoReturn:
        """Replace this process by a command.

        Args:
            command: the program and its arguments.
            daemon: the running daemon; None to start a process that serves the credentials.
            config_path: the configuration, if there is no daemon.
            program: starts this installation. If a daemon is running, the command's AWS config
                file gets a `credential_process` with it; without one, that process would assume
                the role again.
            options: for `program`.

        Raises:
            UsageError: the profile is not in the configuration, or is disabled there.
            CommandNotStartedError: the command was not found or cannot be executed.
            AssumedError: there are no credentials for the profile.
        """
        remove_stale_exec_dirs(self._environ)
        files = _create_files(self._environ)
        process = [*program, "export-credentials", *options, "--profile", self._profile]
        try:
            if daemon is not None:
                provided = self._from_daemon(daemon)
                [definition] = daemon.status([self._profile]).profiles
                # A daemon of an earlier version reports none.
                config_profiles = definition.config_profiles or (self._profile,)
                settings = self._settings(definition.region, config_profiles)
            else:
                assert config_path is not None  # noqa: S101 - by the contract
                configuration = load_configuration(config_path, self._sources)
                provided = self._start_credential_server(configuration, files)
                own = configuration.profiles[self._profile]
                settings = self._settings(own.region, own.config_profiles)
            files.write(self._profile, settings, process=process if daemon is not None else ())
            region = settings["profile"].get("region")
            _execute(command, _child_environ(self._environ, files, provided, region))
        except BaseException:
            files.remove()
            raise

    def _from_daemon(self, daemon: DaemonClient) -> Provided:
        if self._static:
            return daemon.credentials(self._profile)
        return daemon.endpoint(self._profile)

    def _settings(self, region: str | None, config_profiles: Sequence[str]) -> Settings:
        """Return the settings for the command.

        Args:
            region: of the definition; it counts if no profile of the AWS files belongs to the
                definition itself, or that profile has no region.
            config_profiles: of the definition.
        """
        chosen, sections = self._sources.settings(config_profiles)
        entries = dict(sections.get("profile", {}))
        if region is not None and ("region" not in entries or chosen not in config_profiles[:1]):
            entries["region"] = region
        return {**sections, "profile": entries}

    def _start_credential_server(
        self, configuration: Configuration, files: IsolatedAwsFiles
    ) -> Provided:
        server = CredentialServerProcess(
            self._profile,
            self._sources,
            files.directory,
            static=self._static,
            timeout=self._timeout,
        )
        server.configure(
            _with_parents(self._profile, configuration), _stored(configuration, self._environ)
        )
        return server.start()


def _create_files(environ: Mapping[str, str]) -> IsolatedAwsFiles:
    try:
        return create_isolated_files(environ)
    except OSError as error:
        raise DaemonUnreachableError(
            f"{error.filename}: cannot create the AWS files of the command: {error.strerror}",
            hint="set XDG_STATE_HOME to a directory of your own",
        ) from error


def _child_environ(
    environ: Mapping[str, str], files: IsolatedAwsFiles, provided: Provided, region: str | None
) -> dict[str, str]:
    try:
        return child_environ(
            ExecContext(environ, files.config, files.credentials, provided, region)
        )
    except OSError as error:
        raise DaemonUnreachableError(
            f"{error.filename}: cannot read the token of the container credentials endpoint: "
            f"{error.strerror}",
            hint="if the daemon runs in a container, or in a unit with its own /run, run "
            "`assumed exec` there",
        ) from error


def _execute(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environ)  # noqa: S606 - the user's command
    except (FileNotFoundError, NotADirectoryError):
        raise CommandNotStartedError(
            f"{command[0]}: there is no such command",
            hint="write the command after `--`: `assumed exec PROFILE -- CMD ARGUMENT…`",
            exit_status=_NOT_FOUND,
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandNotStartedError(
            f"{command[0]} cannot be executed: {reason}",
            hint=f"check the file: `ls -l {command[0]}`",
            exit_status=_CANNOT_EXECUTE,
        ) from error


def _with_parents(profile: str, configuration: Configuration) -> Mapping[str, ProfileDefinition]:
    require_enabled(configuration.profiles, [profile])
    chosen: dict[str, ProfileDefinition] = {}
    name: str | None = profile
    while name is not None and name not in chosen:
        chosen[name] = configuration.profiles[name]
        name = chosen[name].parent
    return chosen


def _stored(configuration: Configuration, environ: Mapping[str, str]) -> Mapping[str, Credentials]:
    # Fresh sessions in the file are used, so that no call is needed. Nothing is written there.
    with suppress(CredentialsFileError):
        return stored_credentials(credentials_file(configuration, environ))
    return {}
