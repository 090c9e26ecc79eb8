"""Hooks: commands of the user, run apart from the refreshes when something happens to a profile."""

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
from assumed.logs import escape_unprintable, event, redact, timestamp
from assumed.observers.hook_process import HookProcess

_HOOKS: Mapping[EventType, str] = {
    EventType.REFRESHED: "on_refresh",
    EventType.RECOVERED: "on_recovered",
    EventType.FAILED: "on_failure",
    EventType.EXPIRED: "on_failure",
    EventType.NEEDS_LOGIN: "on_needs_login",
    EventType.LOGIN_ENDS_SOON: "on_needs_login",
}
_TIMEOUT_SECONDS = 30.0
_GRACE_SECONDS = 2.0
_END_SECONDS = 1.0
# Of each hook, so that one that hangs takes nothing away from the others.
_AT_ONCE = 4
_MOST_LINES = 50
_MOST_CHARACTERS = 500
# execve(2): a variable of over 128 KiB would keep the hook from being started, as a NUL would.
_MOST_CHARACTERS_OF_A_TEXT = 8_000
# What systemd says to the daemon alone: a child that answered in its place would end it.
_OF_THE_DAEMON = re.compile(r"NOTIFY_SOCKET|WATCHDOG_\w+|LISTEN_\w+")

_Key = tuple[str, str]
"""A hook and a profile."""


class Hooks:
    """Runs what the configuration names, four of each hook at once; safe to use from many threads.

    What waits is at most one run of each hook for each profile, the last one told. Runs for the
    same profile are never at once and keep their order, so that nobody hears of a failure after
    its end.

    Args:
        environ: of the daemon; the hooks have it too.
        timeout_seconds: after so long a hook is ended, with all that it has started.
        grace_seconds: how long a stop waits for hooks that run.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self.commands: Mapping[str, tuple[str, ...]] = MappingProxyType({})
        """What is run, by hook; may be replaced at any time."""
        self._environ = environ
        self._timeout_seconds = timeout_seconds
        self._grace_seconds = grace_seconds
        self._changed = threading.Condition()
        self._waiting: dict[_Key, ProfileEvent] = {}
        self._running: dict[_Key, HookProcess | None] = {}
        self._failures: Counter[str] = Counter()
        """How often each hook has failed in a row."""
        self._is_stopped = False

    def tell(self, notice: ProfileEvent) -> None:
        """Have the hook run that is for what has happened, if there is one; returns at once."""
        hook = _HOOKS[notice.event_type]
        if notice.is_repeat or hook not in self.commands:
            return
        with self._changed:
            if not self._is_stopped:
                # Behind what was told meanwhile: what is told last is how things are.
                self._waiting.pop((hook, notice.profile), None)
                self._waiting[hook, notice.profile] = notice
                self._start_what_may()

    def stop(self) -> None:
        """Run no more; those that run have a moment to end, and are ended then."""
        with self._changed:
            self._is_stopped = True
            self._waiting.clear()
            self._changed.wait_for(lambda: not self._running, self._grace_seconds)
            for process in self._running.values():
                if process is not None:
                    process.stop()
            self._changed.wait_for(lambda: not self._running, _END_SECONDS)

    def _start_what_may(self) -> None:
        while (key := self._next()) is not None:
            notice = self._waiting.pop(key)
            self._running[key] = None
            try:
                # A thread for each run, and none where nothing runs.
                threading.Thread(
                    target=self._work, args=[key, notice], name="hook", daemon=True
                ).start()
            except RuntimeError as error:  # the limit of threads
                del self._running[key]
                failure = HookFailedError(str(error), hint="raise the limit on threads")
                self._tell_failure(key, failure, 0.0)

    def _next(self) -> _Key | None:
        """Return the first that waits, whose profile has none before it, and whose hook is free."""
        profiles = {profile for _, profile in self._running}
        hooks = [hook for hook, _ in self._running]
        for hook, profile in self._waiting:
            if profile not in profiles and hooks.count(hook) < _AT_ONCE:
                return hook, profile
            profiles.add(profile)
        return None

    def _work(self, key: _Key, notice: ProfileEvent) -> None:
        began_at = time.monotonic()
        try:
            self._run(key, notice)
            self._failures[key[0]] = 0
        except HookFailedError as error:
            self._tell_failure(key, error, time.monotonic() - began_at)
        except Exception as error:  # noqa: BLE001 - the hooks that wait still have to run
            event(logging.ERROR, "internal_error", profile=notice.profile, exc_info=error)
        finally:
            with self._changed:
                del self._running[key]
                self._start_what_may()
                self._changed.notify_all()

    def _run(self, key: _Key, notice: ProfileEvent) -> None:
        hook, profile = key
        command = self.commands.get(hook)
        if command is None:
            return
        process = HookProcess(command, hook_environ(self._environ, notice))
        with self._changed:
            self._running[key] = process
            if self._is_stopped:  # while it was being started
                process.stop()
        level = logging.INFO if self._is_shown(hook) else logging.DEBUG
        lines = 0
        try:
            for lines, line in enumerate(process.lines(self._timeout_seconds), 1):
                if lines <= _MOST_LINES:
                    # What is cut could not be recognised as a secret any more.
                    text = redact(line)[:_MOST_CHARACTERS]
                    event(level, "hook_output", profile=profile, hook=hook, line=text)
        finally:
            if lines > _MOST_LINES:
                left_out = lines - _MOST_LINES
                event(level, "hook_output", profile=profile, hook=hook, left_out=left_out)
        event(logging.DEBUG, "hook_done", profile=profile, hook=hook, command=command[0])

    def _is_shown(self, hook: str) -> bool:
        """Whether the next run is: of those that fail in a row the 1st, 2nd, 4th, 8th… is."""
        count = self._failures[hook] + 1
        return count & (count - 1) == 0

    def _tell_failure(self, key: _Key, error: HookFailedError, took_seconds: float) -> None:
        hook, profile = key
        command = self.commands.get(hook)
        event(
            logging.WARNING if self._is_shown(hook) else logging.DEBUG,
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


def hook_environ(environ: Mapping[str, str], notice: ProfileEvent) -> dict[str, str]:
    """Return the environment of a hook: the daemon's, and what has happened; never a secret."""
    failure = notice.failure
    own = {
        "ASSUMED_EVENT": notice.event_type,
        "ASSUMED_PROFILE": notice.profile,
        "ASSUMED_ROLE_ARN": notice.role_arn,
        "ASSUMED_EXPIRATION": notice.expires_at and timestamp(notice.expires_at),
        "ASSUMED_ERROR_CODE": failure and _told(failure.code),
        "ASSUMED_ERROR_MESSAGE": failure and _told(failure.message),
        "ASSUMED_HINT": failure and _told(failure.hint),
    }
    given = {
        name: value
        for name, value in environ.items()
        if name not in own and not _OF_THE_DAEMON.fullmatch(name)
    }
    return given | {name: value for name, value in own.items() if value}


def _told(text: str) -> str:
    """Return what a server or a program may have said, in one line that no terminal obeys."""
    return escape_unprintable(redact(text).strip())[:_MOST_CHARACTERS_OF_A_TEXT]
