"""Hooks: commands of the user that run on the events of a profile.

They run in threads of their own, so that they cannot delay a refresh.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from assumed.engine.events import EventType, ProfileEvent
from assumed.errors import HookFailedError
from assumed.logs import event, redact, timestamp
from assumed.observers.hook_process import HookProcess
from assumed.text import printable

_HOOKS: Mapping[EventType, str] = {
    EventType.REFRESHED: "on_refresh",
    EventType.RECOVERED: "on_recovered",
    EventType.FAILED: "on_failure",
    EventType.EXPIRED: "on_failure",
    EventType.NEEDS_LOGIN: "on_needs_login",
    EventType.LOGIN_EXPIRES_SOON: "on_needs_login",
}
_TIMEOUT_SECONDS = 30.0
_GRACE_SECONDS = 2.0
_KILL_TIMEOUT_SECONDS = 1.0
# Per hook, so that a hook that hangs does not block the other hooks.
_MAX_CONCURRENT_RUNS = 4
_MAX_LINES = 50
_MAX_LINE_CHARACTERS = 500
# execve(2) fails if a variable exceeds 128 KiB or contains a NUL.
_MAX_VARIABLE_CHARACTERS = 8_000
# Only for the daemon: a child that sends notifications in its place would stop it.
_SYSTEMD_VARIABLES = re.compile(r"NOTIFY_SOCKET|WATCHDOG_\w+|LISTEN_\w+")

_Key = tuple[str, str]
"""A hook and a profile."""


class Hooks:
    """Runs the configured hooks, at most four runs of each at once; thread-safe.

    At most one run per hook and profile waits: the latest. Runs for the same profile do not
    overlap and keep their order, so that no one is notified of a failure after its recovery.

    Args:
        environ: the environment of the daemon, which the hooks get too.
        timeout_seconds: how long a hook may run before it is killed with its process group.
        grace_seconds: how long `stop` waits for hooks that run.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self._commands: Mapping[str, tuple[str, ...]] = MappingProxyType({})
        self._environ = environ
        self._timeout_seconds = timeout_seconds
        self._grace_seconds = grace_seconds
        self._changed = threading.Condition()
        self._waiting: dict[_Key, ProfileEvent] = {}
        self._running: dict[_Key, HookProcess | None] = {}
        self._failures: Counter[str] = Counter()
        """Failures in a row, by hook."""
        self._is_stopped = False

    def configure(self, commands: Mapping[str, tuple[str, ...]]) -> None:
        """Replace the commands, by name of the hook; runs that wait use the new ones."""
        self._commands = commands

    def on_event(self, profile_event: ProfileEvent) -> None:
        """Run the hook for an event, if one is configured; return at once."""
        hook = _HOOKS[profile_event.event_type]
        if profile_event.is_repeat or hook not in self._commands:
            return
        with self._changed:
            if not self._is_stopped:
                # At the end of the queue: the latest event of a profile runs last.
                key = hook, profile_event.profile
                self._waiting.pop(key, None)
                self._waiting[key] = profile_event
                self._start_runs()

    def stop(self) -> None:
        """Start no more hooks; kill those that do not finish within the grace period."""
        with self._changed:
            self._is_stopped = True
            self._waiting.clear()
            self._changed.wait_for(lambda: not self._running, self._grace_seconds)
            for process in self._running.values():
                if process is not None:
                    process.stop()
            self._changed.wait_for(lambda: not self._running, _KILL_TIMEOUT_SECONDS)

    def _start_runs(self) -> None:
        while (key := self._next()) is not None:
            profile_event = self._waiting.pop(key)
            self._running[key] = None
            try:
                # A thread per run: without runs there is no thread.
                threading.Thread(
                    target=self._run_and_log, args=[key, profile_event], name="hook", daemon=True
                ).start()
            except RuntimeError as error:  # the limit of threads
                del self._running[key]
                failure = HookFailedError(str(error), hint="raise the limit on threads")
                self._log_failure(key, failure, 0.0)

    def _next(self) -> _Key | None:
        """Return the first waiting run that may start.

        No earlier run of its profile may wait or run, and its hook may not be at its limit.
        """
        profiles = {profile for _, profile in self._running}
        hooks = [hook for hook, _ in self._running]
        for hook, profile in self._waiting:
            if profile not in profiles and hooks.count(hook) < _MAX_CONCURRENT_RUNS:
                return hook, profile
            profiles.add(profile)
        return None

    def _run_and_log(self, key: _Key, profile_event: ProfileEvent) -> None:
        started_at = time.monotonic()
        try:
            self._run(key, profile_event)
            self._failures[key[0]] = 0
        except HookFailedError as error:
            self._log_failure(key, error, time.monotonic() - started_at)
        except Exception as error:  # noqa: BLE001 - the hooks that wait still have to run
            event(logging.ERROR, "internal_error", profile=profile_event.profile, exc_info=error)
        finally:
            with self._changed:
                del self._running[key]
                self._start_runs()
                self._changed.notify_all()

    def _run(self, key: _Key, profile_event: ProfileEvent) -> None:
        hook, profile = key
        command = self._commands.get(hook)
        if command is None:
            return
        process = HookProcess(command, hook_environ(self._environ, profile_event))
        with self._changed:
            self._running[key] = process
            if self._is_stopped:  # while the process was started
                process.stop()
        level = logging.INFO if self._is_next_run_logged(hook) else logging.DEBUG
        lines = 0
        try:
            for lines, line in enumerate(process.lines(self._timeout_seconds), 1):
                if lines <= _MAX_LINES:
                    # Redacted first: a secret that is cut off is not recognized any more.
                    text = redact(line)[:_MAX_LINE_CHARACTERS]
                    event(level, "hook_output", profile=profile, hook=hook, line=text)
        finally:
            if lines > _MAX_LINES:
                left_out = lines - _MAX_LINES
                event(level, "hook_output", profile=profile, hook=hook, left_out=left_out)
        event(logging.DEBUG, "hook_done", profile=profile, hook=hook, command=command[0])

    def _is_next_run_logged(self, hook: str) -> bool:
        """Whether the next run is logged: of failures in a row, the 1st, 2nd, 4th, 8th… is."""
        count = self._failures[hook] + 1
        return count & (count - 1) == 0

    def _log_failure(self, key: _Key, error: HookFailedError, took_seconds: float) -> None:
        hook, profile = key
        command = self._commands.get(hook)
        event(
            logging.WARNING if self._is_next_run_logged(hook) else logging.DEBUG,
            "hook_failed",
            profile=profile,
            hook=hook,
            command=command[0] if command else None,
            error=str(error),
            exit_status=error.hook_status,
            failures=self._failures[hook] + 1,
            took_seconds=round(took_seconds, 3),
            hint=error.hint,
        )
        self._failures[hook] += 1


def hook_environ(environ: Mapping[str, str], profile_event: ProfileEvent) -> dict[str, str]:
    """Return the environment of a hook: the daemon's, and the event; never a secret."""
    failure = profile_event.failure
    own = {
        "ASSUMED_EVENT": profile_event.event_type,
        "ASSUMED_PROFILE": profile_event.profile,
        "ASSUMED_ROLE_ARN": profile_event.role_arn,
        "ASSUMED_EXPIRATION": profile_event.expires_at and timestamp(profile_event.expires_at),
        "ASSUMED_ERROR_CODE": failure and _sanitize(failure.code),
        "ASSUMED_ERROR_MESSAGE": failure and _sanitize(failure.message),
        "ASSUMED_HINT": failure and _sanitize(failure.hint),
    }
    inherited = {
        name: value
        for name, value in environ.items()
        if name not in own and not _SYSTEMD_VARIABLES.fullmatch(name)
    }
    return inherited | {name: value for name, value in own.items() if value}


def _sanitize(text: str) -> str:
    """Return the text of a server or a program as one line without control characters."""
    return printable(redact(text).strip())[:_MAX_VARIABLE_CHARACTERS]
