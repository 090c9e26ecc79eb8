"""What `check --live` tells of one profile."""

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
    """What assuming a role came to.

    Args:
        definition: what was asked for.
        outcome: whether it was given.
        session: None where it failed.
        seen: who asked, and how long it took.
    """

    definition: ProfileDefinition
    outcome: Outcome
    session: RoleSession | None
    seen: CallTrace

    @property
    def hint(self) -> str:
        """What to do about the failure, without the statement that `statement` is."""
        failure = self.outcome.failure
        return "" if failure is None else split_statement(failure.hint)[0]

    @property
    def statement(self) -> str | None:
        """What the trust policy lacks for this very caller, as JSON to paste; None if unknown."""
        failure = self.outcome.failure
        found = None if failure is None else split_statement(failure.hint)[1]
        return None if found is None else json.dumps(found, indent=2)

    @property
    def causes(self) -> tuple[str, ...]:
        """What else STS may have said no for, which it does not tell; the likeliest first."""
        failure = self.outcome.failure
        if failure is None or failure.code != AssumeRoleDeniedError.code:
            return ()
        return tuple(_causes_of_denial(self.definition))


def _causes_of_denial(definition: ProfileDefinition) -> Iterator[str]:
    """Source: the IAM user guide, "Troubleshoot IAM roles"; "Passing session tags in STS"."""
    if definition.tags:
        yield "it sends tags: sts:TagSession has to be allowed in the same two places"
    if definition.source_identity is not None:
        yield (
            "it sends a source_identity: sts:SetSourceIdentity has to be allowed in the same two "
            "places"
        )
    if definition.external_id is not None:
        yield "it sends an external_id: the trust policy has to ask for the very same one"
    elif not isinstance(definition.source, WebIdentity):
        yield (
            "it sends no external_id: where the trust policy has a condition on sts:ExternalId, "
            "write that one"
        )
    yield (
        "the role may not be there: STS says the same of a role that does not exist, so compare "
        "account and name"
    )
    yield "another condition of the trust policy may not hold (MFA, an address, an organization)"
