"""Whom a role's trust policy lets in. Pure: a policy and a caller in, an answer out.

moto's own check lets in whom AWS refuses (it does not look at `Effect`, at a missing external id
or at where a name ends) and refuses whom AWS lets in (an account, everybody, another role).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique
from fnmatch import fnmatchcase
from typing import Any

from assumed.arn import Arn

Policy = Mapping[str, Any]


@unique
class Trust(IntEnum):
    """What a trust policy says of a caller."""

    REFUSED = 0
    DELEGATED = 1
    """It trusts the caller's account, or everybody: the caller's own policies must allow it too."""
    NAMED = 2
    """It names the caller, who is in the role's account and needs no policy of their own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for the role.

    Args:
        arn: of the user, or of the assumed-role session; None for a web identity.
        role_arn: of the role that the session is of.
    """

    arn: str | None
    role_arn: str | None = None

    @property
    def account_id(self) -> str | None:
        """The twelve digits of the caller's account."""
        return Arn.parse(self.arn).account if self.arn else None


WEB_IDENTITY = Caller(arn=None)


def trust(
    policy: Policy,
    caller: Caller,
    *,
    role_arn: str,
    action: str = "sts:AssumeRole",
    context: Mapping[str, str],
) -> Trust:
    """Return what the trust policy of `role_arn` says of `caller`.

    Args:
        policy: the document, parsed.
        caller: who asks; of a web identity any federated principal is taken to be its provider.
        role_arn: a caller of another account is never more than `DELEGATED`.
        action: `sts:AssumeRole` or `sts:AssumeRoleWithWebIdentity`.
        context: the condition keys of the request and their values, such as `sts:ExternalId`.

    Raises:
        NotImplementedError: a condition that is neither StringEquals nor StringLike.

    Source: IAM user guide, "AWS JSON policy elements: Principal" and "Cross-account policy
    evaluation logic"; STS reference, AssumeRole (a user whom the policy names needs no policy of
    their own in the same account).
    """
    answer = Trust.REFUSED
    for statement in _listed(policy["Statement"]):
        found = _found_in(statement["Principal"], caller)
        if found is Trust.REFUSED or not _is_about(statement["Action"], action):
            continue
        if not _is_met(statement.get("Condition", {}), context):
            continue
        if statement["Effect"] == "Deny":
            return Trust.REFUSED
        answer = max(answer, found)
    if answer is Trust.NAMED and caller.account_id not in {Arn.parse(role_arn).account, None}:
        return Trust.DELEGATED
    return answer


def _found_in(principal: Any, caller: Caller) -> Trust:
    if principal == "*":
        return Trust.DELEGATED
    if caller.arn is None:
        return Trust.NAMED if "Federated" in principal else Trust.REFUSED
    partition, account_id = Arn.parse(caller.arn).partition, caller.account_id
    named = set(_listed(principal.get("AWS", [])))
    if named & {caller.arn, caller.role_arn}:
        return Trust.NAMED
    if named & {"*", account_id, f"arn:{partition}:iam::{account_id}:root"}:
        return Trust.DELEGATED
    return Trust.REFUSED


def _is_about(actions: Any, action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(actions))


def _is_met(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    for operator, tests in condition.items():
        if operator not in {"StringEquals", "StringLike"}:
            raise NotImplementedError(f"the embedded AWS knows no condition {operator}")
        for key, expected in tests.items():
            value = context.get(key)
            if value is None:
                return False
            if operator == "StringEquals" and value not in _listed(expected):
                return False
            if not any(fnmatchcase(value, pattern) for pattern in _listed(expected)):
                return False
    return True


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
