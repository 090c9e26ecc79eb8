"""The result of `check --live` for one profile."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from assumed.errors import AssumeRoleDeniedError
from assumed.models import Outcome, ProfileDefinition, RoleSession, WebIdentity
from assumed.sts.client import StsRequest
from assumed.sts.errors import split_statement


@dataclass(frozen=True, slots=True)
class CallTrace:
    """The requests to STS for one profile.

    Args:
        caller_arn: the identity of the source credentials, by GetCallerIdentity; None for a
            token, or if that call failed.
        took: how long AssumeRole took, or GetCallerIdentity if no role is assumed; None if the
            request was not made.
    """

    caller_arn: str | None = None
    took: timedelta | None = None


def trace_calls(definition: ProfileDefinition, requests: Iterable[StsRequest]) -> CallTrace:
    """Return what the requests for a profile show, with the time of all fallback regions."""
    own = [request for request in requests if request.profile == definition.profile]
    arns = [request.identity_arn for request in own if request.identity_arn is not None]
    took = [
        request.took
        for request in own
        if definition.role_arn is None or request.operation != "GetCallerIdentity"
    ]
    return CallTrace(arns[-1] if arns else None, sum(took, timedelta()) if took else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCheck:
    """The result of assuming one role.

    Args:
        definition: the definition of the profile.
        outcome: whether it succeeded.
        session: the session; None if it failed.
        trace: the caller and the duration of the call.
    """

    definition: ProfileDefinition
    outcome: Outcome
    session: RoleSession | None
    trace: CallTrace

    @property
    def hint(self) -> str:
        """What to do about the failure, without the statement that `statement` returns."""
        failure = self.outcome.failure
        return "" if failure is None else split_statement(failure.hint)[0]

    @property
    def statement(self) -> str | None:
        """The statement that the trust policy needs for this caller, as JSON; None if unknown."""
        failure = self.outcome.failure
        found = None if failure is None else split_statement(failure.hint)[1]
        return None if found is None else json.dumps(found, indent=2)

    @property
    def causes(self) -> tuple[str, ...]:
        """Other possible causes of a denial, which STS does not reveal; the likeliest first."""
        failure = self.outcome.failure
        if failure is None or failure.code != AssumeRoleDeniedError.code:
            return ()
        return tuple(_causes_of_denial(self.definition))


def _causes_of_denial(definition: ProfileDefinition) -> Iterator[str]:
    """Source: the IAM user guide, "Troubleshoot IAM roles"; "Passing session tags in STS"."""
    if definition.tags:
        yield "the definition has tags: sts:TagSession must be allowed in the same way"
    if definition.source_identity is not None:
        yield (
            "the definition has a source_identity: sts:SetSourceIdentity must be allowed in the "
            "same way"
        )
    if definition.external_id is not None:
        yield "the definition has an external_id: the trust policy must require the same value"
    elif not isinstance(definition.source, WebIdentity):
        yield (
            "the definition has no external_id: if the trust policy has a condition on "
            "sts:ExternalId, set that value"
        )
    yield (
        "the role may not exist: STS returns the same error for that, so check the account ID and "
        "the name"
    )
    yield ("another condition of the trust policy may not be met (MFA, IP address, organization)")
