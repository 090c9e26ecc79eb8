"""The same calls, with what `check --live` tells of each: whose identity made it, and how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TypeVar

from botocore.session import Session as BotocoreSession

from assumed.clock import Clock
from assumed.errors import AssumedError
from assumed.models import ProfileDefinition, SourceAuthentication, SourceCredentials
from assumed.sts.client import StsClient
from assumed.sts.responses import AssumedRole, CallerIdentity

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class CallTrace:
    """The last call for a profile.

    Args:
        caller_arn: whose credentials signed it, by GetCallerIdentity; None where nothing signed
            it (a token), or STS does not tell.
        took: how long STS took over it; None where it was not made.
    """

    caller_arn: str | None = None
    took: timedelta | None = None


class TracingStsClient(StsClient):
    """Asks for the identity behind the calling credentials before each AssumeRole."""

    def __init__(self, clock: Clock, *, connections: int = 10) -> None:
        super().__init__(clock, connections=connections)
        self._observed: dict[str, CallTrace] = {}

    @property
    def observed(self) -> Mapping[str, CallTrace]:
        """What was seen, by profile."""
        return MappingProxyType(self._observed)

    def assume_role(
        self,
        definition: ProfileDefinition,
        credentials: SourceAuthentication,
        botocore_session: BotocoreSession,
    ) -> AssumedRole:
        """Call GetCallerIdentity and then AssumeRole.

        Raises:
            AssumedError: as AssumeRole does; the identity is left open where it can't be had.
        """
        arn = None
        if isinstance(credentials, SourceCredentials):
            # AssumeRole meets the same trouble, with better words for it; but the policy of a VPC
            # endpoint may forbid this one alone.
            with suppress(AssumedError):
                arn = super().get_caller_identity(definition, credentials, botocore_session).arn
        assume = super().assume_role
        return self._timed(
            definition, arn, lambda: assume(definition, credentials, botocore_session)
        )

    def get_caller_identity(
        self,
        definition: ProfileDefinition,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> CallerIdentity:
        """Call it for a profile that assumes no role.

        Raises:
            AssumedError: as the call does.
        """
        ask = super().get_caller_identity
        identity = self._timed(
            definition, None, lambda: ask(definition, credentials, botocore_session)
        )
        took = self._observed[definition.profile].took
        self._observed[definition.profile] = CallTrace(identity.arn, took)
        return identity

    def _timed(
        self, definition: ProfileDefinition, arn: str | None, call: Callable[[], AnswerT]
    ) -> AnswerT:
        began_at = self._clock.boottime()
        try:
            return call()
        finally:
            took = timedelta(seconds=self._clock.boottime() - began_at)
            self._observed[definition.profile] = CallTrace(arn, took)
