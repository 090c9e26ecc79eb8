"""`assumed exec`: makes the surroundings of a command, and becomes that command.

This very process becomes it, so that its signals, its exit status, its terminal and its place in
the shell's jobs are the command's own, with nobody in between. Where no daemon runs a second
process stays beside it: it keeps the credentials fresh, and sees by itself when the command ends.
"""

from __future__ import annotations

import json
import logging
import os
import random
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from assumed.app.exec_environment import (
    IsolatedAwsFiles,
    child_environ,
    own_files,
    tidy,
    with_region,
)
from assumed.app.factory import (
    credentials_file,
    load_configuration,
    make_jobs,
    make_refresher,
    stored_credentials,
)
from assumed.client.api_client import DaemonClient
from assumed.clock import SystemClock
from assumed.credential_sources.base import SourceProfiles
from assumed.engine.refresher import already_done
from assumed.engine.scheduler import RefreshScheduler
from assumed.errors import (
    AssumedError,
    CommandNotStartedError,
    CredentialsFileError,
    DaemonUnreachableError,
    RefreshFailedError,
    UnexpectedError,
    UsageError,
    retry_advice,
)
from assumed.logs import event
from assumed.models import (
    Configuration,
    Credentials,
    EndpointAddress,
    ProfileDefinition,
)
from assumed.platform.hardening import harden_process
from assumed.server.container_credentials import MIN_LEFT, ContainerCredentialsEndpoint
from assumed.server.serialization import credentials_to_json

_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # as of env(1) and every shell
# Python ignores these, and what it becomes would go on to; `yes | head` would not end.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ", "SIGXFZ")
_ENDS_A_PROCESS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_LOOK_SECONDS = 1
_STDERR = 2

Given = EndpointAddress | Mapping[str, str]


class ExecEnvironment:
    """What a command is to find around it.

    Args:
        profile: of the configuration.
        environ: the user's.
        static: give plain variables, which are good for as long as the session lasts.
    """

    def __init__(self, profile: str, environ: Mapping[str, str], *, static: bool) -> None:
        self._profile = profile
        self._environ = environ
        self._static = static
        self._sources = SourceProfiles()

    def become(
        self, command: Sequence[str], *, daemon: DaemonClient | None, config_path: Path | None
    ) -> NoReturn:
        """Become a command, in these surroundings.

        Args:
            command: what to run, and its arguments.
            daemon: the running one; None where this process has to do without.
            config_path: the configuration, where there is no daemon.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
            CommandNotStartedError: there is no such command, or it can't be executed.
            AssumedError: there are no credentials for it.
        """
        tidy(self._environ)
        sections = self._sources.settings(self._profile)
        files = _made(self._environ)
        try:
            files.write(self._profile, sections)
            if daemon is not None:
                given = self._from_daemon(daemon)
            else:
                assert config_path is not None  # noqa: S101 - by the contract
                given = self._from_beside(config_path, files)
            child = _child_environ(self._environ, files, given)
            if self._static:
                child = with_region(child, sections["profile"].get("region"))
            _execute(command, child)
        except BaseException:
            files.remove()
            raise

    def _from_daemon(self, daemon: DaemonClient) -> Given:
        if self._static:
            return daemon.credentials(self._profile)
        return daemon.endpoint(self._profile)

    def _from_beside(self, config_path: Path, files: IsolatedAwsFiles) -> Given:
        """Start the process beside this one, and return what it gives once it has credentials."""
        configuration = load_configuration(config_path, self._sources)
        definitions = _with_parents(self._profile, configuration)
        companion = _CredentialServerProcess(
            self._profile, self._sources, files, static=self._static
        )
        companion.keep(definitions, _stored(configuration, self._environ))
        reader, writer = os.pipe()
        watched = _watched()
        pid = os.fork()
        if pid == 0:
            try:
                # A grandchild: the command must not find a child that it did not start.
                os.setsid()
                if os.fork() == 0:
                    os.close(reader)
                    companion.run(writer, watched)
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with os.fdopen(reader) as pipe:
            return _told(pipe.read())


def _made(environ: Mapping[str, str]) -> IsolatedAwsFiles:
    try:
        return own_files(environ)
    except OSError as error:
        raise DaemonUnreachableError(
            f"{error.filename}: the files for the command can't be made: {error.strerror}",
            hint="set XDG_STATE_HOME to a folder of your own",
        ) from error


def _child_environ(
    environ: Mapping[str, str], files: IsolatedAwsFiles, given: Given
) -> dict[str, str]:
    try:
        return child_environ(environ, files, given)
    except OSError as error:
        raise DaemonUnreachableError(
            f"{error.filename}: the token of the endpoint can't be read: {error.strerror}",
            hint="if the daemon runs in a container or as a unit with a /run of its own, run "
            "`assumed exec` where it does",
        ) from error


def _execute(command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environ)  # noqa: S606 - it is what was asked for
    except (FileNotFoundError, NotADirectoryError):
        raise CommandNotStartedError(
            f"{command[0]}: there is no such command",
            hint="the command comes after `--`: `assumed exec PROFILE -- CMD ARGUMENT…`",
            exit_status=_NOT_FOUND,
        ) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandNotStartedError(
            f"{command[0]} can't be executed: {why}",
            hint=f"see what it is: `ls -l {command[0]}`",
            exit_status=_CANNOT_EXECUTE,
        ) from error


def _with_parents(profile: str, configuration: Configuration) -> Mapping[str, ProfileDefinition]:
    if profile not in configuration.profiles:
        raise UsageError(
            f"profile {profile} is not in the configuration",
            hint=f"known are: {', '.join(configuration.profiles) or 'none'}",
        )
    chosen: dict[str, ProfileDefinition] = {}
    name: str | None = profile
    while name is not None and name not in chosen:
        chosen[name] = configuration.profiles[name]
        name = chosen[name].parent
    return chosen


def _stored(configuration: Configuration, environ: Mapping[str, str]) -> Mapping[str, Credentials]:
    # What is fresh in the file need not be assumed again; nothing is written there.
    with suppress(CredentialsFileError):
        return stored_credentials(credentials_file(configuration, environ))
    return {}


def _told(text: str) -> Given:
    shape: dict[str, Any] = json.loads(text) if text else {}
    match shape:
        case {"url": str(url), "token_file": str(token_file)}:
            return EndpointAddress(url=url, token_file=Path(token_file))
        case {"credentials": dict(credentials)}:
            return credentials
        case {"code": UsageError.code, "message": str(message), "hint": str(hint)}:
            raise UsageError(message, hint=hint)
        case {"code": str(code), "message": str(message), "hint": str(hint)}:
            error = RefreshFailedError(message, hint=hint, code=code)
            error.hint += f"; {retry_advice(error, by_daemon=False)}"
            raise error
    raise UnexpectedError(
        "the process that keeps the credentials fresh has ended",
        hint="see with `--log-level debug` why; please report it if that is no help",
    )


class _CredentialServerProcess:
    """The process beside a command; `run` never returns."""

    def __init__(
        self, profile: str, sources: SourceProfiles, files: IsolatedAwsFiles, *, static: bool
    ) -> None:
        self._profile = profile
        self._files = files
        self._static = static
        self._command = os.getpid()
        clock = SystemClock()
        self._jobs = make_jobs(beat=self._beat)
        self._scheduler = RefreshScheduler(
            clock=clock,
            refresher=make_refresher(clock, sources, _Memory()),
            jobs=self._jobs,
            jitter=random.random,
        )
        self._endpoint = ContainerCredentialsEndpoint(self._scheduler, files.folder)

    def keep(
        self, definitions: Mapping[str, ProfileDefinition], stored: Mapping[str, Credentials]
    ) -> None:
        """Keep these profiles fresh, once it runs.

        Args:
            definitions: of the profile and its parents.
            stored: what the credentials file holds under our mark.
        """
        self._scheduler.update_definitions(definitions, stored)

    def run(self, writer: int, watched: int | None) -> NoReturn:
        """Serve until the command has ended, then leave nothing behind."""
        try:
            _detach({writer, watched})
            harden_process()
            self._jobs.start()
            self._ask().add_done_callback(lambda done: self._tell(writer, done))
            _wait_for_the_end(self._command, watched)
        except Exception as error:  # noqa: BLE001 - the command finds out by the end of the pipe
            event(logging.ERROR, "internal_error", profile=self._profile, exc_info=error)
        finally:
            self._endpoint.close()
            self._files.remove()
            os._exit(0)

    def _ask(self) -> Future[Credentials]:
        try:
            return self._scheduler.credentials(self._profile, min_left=MIN_LEFT)
        except AssumedError as error:
            failed: Future[Credentials] = Future()
            failed.set_exception(error)
            return failed

    def _tell(self, writer: int, done: Future[Credentials]) -> None:
        shape: dict[str, Any]
        try:
            credentials = done.result()
            if self._static:
                plain = {key: str(value) for key, value in credentials_to_json(credentials).items()}
                shape = {"credentials": plain}
            else:
                address = self._endpoint.address(self._profile)
                shape = {"url": address.url, "token_file": str(address.token_file)}
        except AssumedError as error:
            shape = {"code": error.code, "message": error.message, "hint": error.hint}
        with suppress(BrokenPipeError), os.fdopen(writer, "w") as pipe:
            json.dump(shape, pipe)

    def _beat(self) -> None:
        try:
            self._scheduler.heartbeat()
        except Exception as error:  # noqa: BLE001 - a defect must not end the scheduler's thread
            event(logging.ERROR, "internal_error", exc_info=error)


class _Memory:
    """The store of a process that writes nobody's file: the scheduler itself holds the sessions."""

    def write(self, profile: str, credentials: Credentials, *, overwrite: bool) -> Future[None]:
        """Write nothing."""
        return already_done()

    def remove(self, profiles: Sequence[str]) -> None:
        """There is nothing to remove."""


def _detach(kept: set[int | None]) -> None:
    """Let go of all that is the command's: its terminal, its pipes, the signals meant for it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    # Standard error stays, to tell of refreshes that fail. What Python opened for itself is not
    # inheritable; the rest came with the command line, such as the pipe of a process substitution.
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names are what is asked for
        descriptor = int(name)
        with suppress(OSError):  # the one that the list was read with is closed already
            if descriptor > _STDERR and descriptor not in kept and os.get_inheritable(descriptor):
                os.close(descriptor)
    for number in _ENDS_A_PROCESS:
        # Not ignored, which a `credential_process` would inherit. systemd and a terminal that is
        # closed tell everyone at once, and the command may have much to do before it ends.
        signal.signal(number, lambda *_: None)


def _watched() -> int | None:
    """Return what becomes readable when this process ends, whatever program it is by then."""
    if sys.platform == "linux":
        with suppress(OSError):  # before Linux 5.3
            return os.pidfd_open(os.getpid())
    return None


def _wait_for_the_end(pid: int, watched: int | None) -> None:
    if watched is not None:
        select.select([watched], [], [])
        return
    with suppress(ProcessLookupError, PermissionError):
        while True:
            os.kill(pid, 0)
            time.sleep(_LOOK_SECONDS)
