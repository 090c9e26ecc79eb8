"""The process that serves credentials to a command under `assumed exec` without a daemon."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from typing import Any, NoReturn

from assumed.app.factory import make_jobs, make_refresher
from assumed.clock import SystemClock
from assumed.credential_sources.base import SourceProfiles
from assumed.engine.scheduler import RefreshScheduler
from assumed.errors import (
    AssumedError,
    RefreshFailedError,
    UnexpectedError,
    UsageError,
    retry_advice,
)
from assumed.logs import event
from assumed.models import Credentials, EndpointAddress, ProfileDefinition
from assumed.platform.hardening import harden_process
from assumed.server.container_credentials import MIN_LEFT, ContainerCredentialsEndpoint
from assumed.server.serialization import credentials_to_json
from assumed.storage.null_store import NullStore

_TERMINATING_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_POLL_INTERVAL_SECONDS = 1
_STDERR = 2

Provided = EndpointAddress | Mapping[str, str]
"""An endpoint to refresh from, or credentials by the names of a credential process."""


class CredentialServerProcess:
    """Refreshes one profile and serves its credentials until the starting process has ended.

    Args:
        profile: the name of a definition.
        sources: the profiles of the AWS files.
        directory: for the token of the endpoint; removed at the end.
        static: provide credentials instead of an endpoint.
        timeout: how long the first credentials may take.
    """

    def __init__(
        self,
        profile: str,
        sources: SourceProfiles,
        directory: Path,
        *,
        static: bool,
        timeout: timedelta,
    ) -> None:
        self._profile = profile
        self._directory = directory
        self._static = static
        self._timeout = timeout
        self._command = os.getpid()
        self._lock = threading.Lock()
        self._has_replied = False
        clock = SystemClock()
        self._jobs = make_jobs(on_heartbeat=self._on_heartbeat)
        self._scheduler = RefreshScheduler(
            clock=clock,
            refresher=make_refresher(clock, sources, NullStore()),
            jobs=self._jobs,
            jitter=random.random,
        )
        self._endpoint = ContainerCredentialsEndpoint(self._scheduler, directory)

    def configure(
        self, definitions: Mapping[str, ProfileDefinition], stored: Mapping[str, Credentials]
    ) -> None:
        """Set what to refresh.

        Args:
            definitions: the definitions of the profile and its parents.
            stored: the managed credentials in the credentials file.
        """
        self._scheduler.update_definitions(definitions, stored)

    def start(self) -> Provided:
        """Start the process; return what it provides as soon as it has credentials.

        Raises:
            UsageError: the profile is disabled in the configuration.
            RefreshFailedError: the refresh failed.
            UnexpectedError: the process ended without an answer.
        """
        reader, writer = os.pipe()
        command_pidfd = _open_pidfd()
        pid = os.fork()
        if pid == 0:
            try:
                # A grandchild: the command must not have a child that it did not start.
                os.setsid()
                if os.fork() == 0:
                    os.close(reader)
                    self._run(writer, command_pidfd)
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with os.fdopen(reader) as pipe:
            return parse_reply(pipe.read())

    def _run(self, writer: int, command_pidfd: int | None) -> NoReturn:
        """Serve until the command has ended, then remove all files."""
        try:
            _detach({writer, command_pidfd})
            harden_process()
            self._jobs.start()
            request = self._request()
            request.add_done_callback(lambda done: self._reply(writer, done))
            if not _wait_for_end(self._command, command_pidfd, self._timeout.total_seconds()):
                self._reply(writer, request)
                _wait_for_end(self._command, command_pidfd)
        except Exception as error:  # noqa: BLE001 - the reader notices the end of the pipe
            event(logging.ERROR, "internal_error", profile=self._profile, exc_info=error)
        finally:
            self._endpoint.close()
            rmtree(self._directory, ignore_errors=True)
            os._exit(0)

    def _request(self) -> Future[Credentials]:
        try:
            return self._scheduler.credentials(self._profile, min_left=MIN_LEFT, persists=True)
        except AssumedError as error:
            failed: Future[Credentials] = Future()
            failed.set_exception(error)
            return failed

    def _reply(self, writer: int, request: Future[Credentials]) -> None:
        """Reply once: with the credentials, or with why there are none, also if time is up."""
        with self._lock:
            if self._has_replied:
                return
            self._has_replied = True
        reply = self._provided(request) if request.done() else self._last_failure()
        with suppress(BrokenPipeError), os.fdopen(writer, "w") as pipe:
            json.dump(reply, pipe)

    def _provided(self, done: Future[Credentials]) -> dict[str, Any]:
        try:
            credentials = done.result()
            if self._static:
                plain = {key: str(value) for key, value in credentials_to_json(credentials).items()}
                return {"credentials": plain}
            address = self._endpoint.address(self._profile)
            return {"url": address.url, "token_file": str(address.token_file)}
        except AssumedError as error:
            return {"code": error.code, "message": error.message, "hint": error.hint}

    def _last_failure(self) -> dict[str, Any]:
        failure = self._scheduler.statuses([self._profile])[0].last_error
        if failure is None:
            return {
                "code": "Timeout",
                "message": "the refresh has not finished in time",
                "hint": "allow it more time with `--timeout`",
            }
        return {"code": failure.code, "message": failure.message, "hint": failure.hint}

    def _on_heartbeat(self) -> None:
        try:
            self._scheduler.heartbeat()
        except Exception as error:  # noqa: BLE001 - it must not end the scheduler's thread
            event(logging.ERROR, "internal_error", exc_info=error)


def parse_reply(text: str) -> Provided:
    """Return what the process provides, from its reply.

    Raises:
        UsageError: the profile is disabled in the configuration.
        RefreshFailedError: the refresh failed.
        UnexpectedError: there is no reply.
    """
    reply: dict[str, Any] = json.loads(text) if text else {}
    match reply:
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
        "the process that keeps the credentials refreshed has ended",
        hint="run it again with `--log-level debug` to see why, and please report it",
    )


def _detach(kept: set[int | None]) -> None:
    """Release the terminal, pipes and signals of the command."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    # Standard error stays, to log failed refreshes. Descriptors that Python opened are not
    # inheritable; the others are from the command line, such as the pipe of a process substitution.
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - only the names are needed
        descriptor = int(name)
        with suppress(OSError):  # the descriptor that listed the directory is closed already
            if descriptor > _STDERR and descriptor not in kept and os.get_inheritable(descriptor):
                os.close(descriptor)
    for number in _TERMINATING_SIGNALS:
        # systemd, and a terminal that is closed, signal all processes at once, but the command may
        # still need credentials to shut down. SIG_IGN would be inherited by a credential_process.
        signal.signal(number, lambda *_: None)


def _open_pidfd() -> int | None:
    """Return a descriptor that becomes readable when this process ends, also after execve."""
    if sys.platform == "linux":
        with suppress(OSError):  # before Linux 5.3
            return os.pidfd_open(os.getpid())
    return None


def _wait_for_end(pid: int, pidfd: int | None, timeout: float | None = None) -> bool:
    """Wait for the end of a process, at most for `timeout` seconds; return whether it has ended."""
    if pidfd is not None:
        return bool(select.select([pidfd], [], [], timeout)[0])
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(_POLL_INTERVAL_SECONDS)
        return False
    return True
