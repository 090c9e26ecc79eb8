"""MFA codes: each is valid once, and a device shows the next one half a minute later.

`MfaCodeSource` sends a code with AssumeRole itself (`mfa_session: none`). STS limits a role that is
assumed from a session of GetSessionToken to an hour, and allows 12 hours here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace

from botocore.session import Session as BotocoreSession

from assumed.clock import Clock
from assumed.credential_sources.mfa_command import is_mfa_code
from assumed.credential_sources.profile import ResolvedSource
from assumed.errors import (
    AssumedError,
    LongTermKeysError,
    MfaCodeNeededError,
    MfaCodeRejectedError,
    SourceMissingError,
    SourceUnavailableError,
    UsageError,
)
from assumed.models import MfaCode, MfaDevice, MfaToken, SourceCredentials, TemporaryCredentials

# RFC 6238: how long a device shows one code.
_STEP_SECONDS = 30.0
# STS also accepts the codes of the steps before and after its own.
_VALID_SECONDS = 3 * _STEP_SECONDS
_NEVER = float("-inf")
_BLANKS = re.compile(r"\s+")


def parse_mfa_code(text: str) -> str:
    """Return the six digits of a code; devices show them in groups, such as `123 456`.

    Raises:
        UsageError: it is something else.
    """
    code = _BLANKS.sub("", text)
    if not is_mfa_code(code):
        raise UsageError(
            "an MFA code is six digits", hint="enter the code that the device shows now"
        )
    return code


def long_term_keys(source: MfaDevice, resolved: ResolvedSource) -> SourceCredentials:
    """Return the keys that an MFA code is used with.

    Raises:
        SourceMissingError: there are none, or they are temporary.
        SourceUnavailableError: the source is not available.
    """
    keys = resolved.credentials()
    if keys.session_token is not None:
        raise SourceMissingError(
            f"source {source.profile} holds temporary credentials, but an MFA session requires "
            "long-term keys",
            hint="set source_profile to a profile with long-term keys, or remove mfa_serial",
        )
    return keys


class MfaCodes:
    """The codes of all devices; safe to use from many threads.

    Args:
        clock: measures how long a device shows one code.
        run: runs the command that prints a code.
    """

    def __init__(self, clock: Clock, *, run: Callable[[tuple[str, ...]], str]) -> None:
        self._clock = clock
        self._run = run
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}
        """When each code was sent to STS, which accepts it once."""
        self._asked_at: dict[object, float] = {}
        """When a device last gave a code, by its command and by its serial."""
        self._supplied: dict[MfaCode, tuple[str, float]] = {}
        """The code that the user has entered for each source, and when."""

    def supply(self, source: MfaCode, code: str) -> None:
        """Keep a code that the user has entered for the next AssumeRole call of a source.

        Raises:
            UsageError: the code is not six digits.
            MfaCodeRejectedError: it was used before.
        """
        code = parse_mfa_code(code)
        self.claim(code)
        with self._lock:
            self._supplied[source] = code, self._clock.boottime()

    def pop(self, source: MfaCode) -> str:
        """Return a code for one call: the one that was entered, or the next of the command.

        Raises:
            MfaCodeNeededError: the user has to enter one.
            SourceUnavailableError: the command fails, or the device shows no new code yet.
        """
        with self._lock:
            code, entered_at = self._supplied.pop(source, ("", _NEVER))
        if self._clock.boottime() < entered_at + _VALID_SECONDS:
            return code
        if not source.process:
            raise MfaCodeNeededError(
                f"the next session needs an MFA code of {source.serial} (`mfa_session: none`)",
                hint=f"enter one with `assumed login {source.owner}`",
            )
        printed = self.of_command(source)
        self.claim(printed)
        return printed

    def claim(self, code: str) -> None:
        """Record that a code is used; raise if it was used before.

        Raises:
            MfaCodeRejectedError: it was.
        """
        now = self._clock.boottime()
        with self._lock:
            self._used = {used: at for used, at in self._used.items() if now < at + _VALID_SECONDS}
            if code in self._used:
                raise MfaCodeRejectedError(
                    "this MFA code was already used, and each is valid once",
                    hint="enter the next code, which the device shows within half a minute",
                )
            self._used[code] = now

    def of_command(self, source: MfaDevice) -> str:
        """Return the code that the device's command prints.

        Raises:
            SourceUnavailableError: it fails, or the device shows no new code yet.
        """
        # A device that several serials share shows the same code for all of them.
        devices = (source.process, source.serial)
        now = self._clock.boottime()
        with self._lock:
            last = max(self._asked_at.get(device, _NEVER) for device in devices)
            if now < last + _STEP_SECONDS:
                raise SourceUnavailableError(
                    f"the MFA device {source.serial} does not show its next code yet",
                    hint="wait half a minute for the next code",
                )
            self._asked_at.update(dict.fromkeys(devices, now))
        try:
            code = self._run(source.process)
        except AssumedError:
            with self._lock:
                for device in devices:
                    self._asked_at.pop(device, None)
            raise
        with self._lock:
            self._asked_at.update(dict.fromkeys(devices, self._clock.boottime()))
        return code


class MfaCodeSource:
    """Long-term keys and a code for one AssumeRole call, as a `CredentialProvider`."""

    def __init__(self, codes: MfaCodes, source: MfaCode, resolved: ResolvedSource) -> None:
        self._codes = codes
        self._source = source
        self._resolved = resolved

    @property
    def botocore_session(self) -> BotocoreSession:
        """The botocore session of the source profile."""
        return self._resolved.botocore_session

    def credentials(self) -> SourceCredentials:
        """Return the long-term keys with a code, which no other call gets.

        Raises:
            MfaCodeNeededError: the user has to enter a code.
            AssumedError: the keys or the command are unavailable.
        """
        keys = long_term_keys(self._source, self._resolved)
        return replace(keys, mfa=MfaToken(self._source.serial, self._codes.pop(self._source)))

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials:
        """Raise: the configuration requires a role."""
        raise LongTermKeysError(
            f"{self._source.profile} holds long-term keys, which are never copied",
            hint="add a role_arn, or set mfa_session to a duration",
        )

    def forget(self) -> None:
        """Drop the cached long-term keys."""
        self._resolved.forget()
