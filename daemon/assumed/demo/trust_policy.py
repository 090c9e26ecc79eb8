"""Evaluates the trust policy of a role. Pure.

moto's own check allows callers that AWS denies (it ignores `Effect`, a missing external ID and the
end of a name) and denies callers that AWS allows (an account, everyone, another role).
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
    """How far a trust policy trusts a caller."""

    DENIED = 0
    DELEGATED = 1
    """It trusts the caller's account, or everyone: the caller's own policies must allow it too."""
    NAMED = 2
    """It names the caller, who is in the role's account and needs no policy of their own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The identity that assumes a role.

    Args:
        arn: of the user, or of the role session; None for a web identity.
        role_arn: of the session's role.
    """

    arn: str | None
    role_arn: str | None = None

    @property
    def account_id(self) -> str | None:
        """The account of the caller, twelve digits."""
        return Arn.parse(self.arn).account if self.arn else None


WEB_IDENTITY = Caller(arn=None)


def evaluate_trust(
    policy: Policy,
    caller: Caller,
    *,
    role_arn: str,
    action: str = "sts:AssumeRole",
    context: Mapping[str, str],
) -> Trust:
    """Return how far the trust policy of `role_arn` trusts `caller`.

    Args:
        policy: the document, parsed.
        caller: assumes the role; any federated principal counts as the provider of a web identity.
        role_arn: a caller of another account is never more than `DELEGATED`.
        action: `sts:AssumeRole` or `sts:AssumeRoleWithWebIdentity`.
        context: the condition keys of the request and their values, such as `sts:ExternalId`.

    Raises:
        NotImplementedError: a condition other than StringEquals and StringLike.

    Source: IAM user guide, "AWS JSON policy elements: Principal" and "Cross-account policy
    evaluation logic"; STS reference, AssumeRole (a named user of the same account needs no
    policy of their own).
    """
    result = Trust.DENIED
    for statement in _as_list(policy["Statement"]):
        found = _trust_in(statement["Principal"], caller)
        if found is Trust.DENIED or not _has_action(statement["Action"], action):
            continue
        if not _conditions_hold(statement.get("Condition", {}), context):
            continue
        if statement["Effect"] == "Deny":
            return Trust.DENIED
        result = max(result, found)
    if result is Trust.NAMED and caller.account_id not in {Arn.parse(role_arn).account, None}:
        return Trust.DELEGATED
    return result


def _trust_in(principal: Any, caller: Caller) -> Trust:
    if principal == "*":
        return Trust.DELEGATED
    if caller.arn is None:
        return Trust.NAMED if "Federated" in principal else Trust.DENIED
    partition, account_id = Arn.parse(caller.arn).partition, caller.account_id
    named = set(_as_list(principal.get("AWS", [])))
    if named & {caller.arn, caller.role_arn}:
        return Trust.NAMED
    if named & {"*", account_id, f"arn:{partition}:iam::{account_id}:root"}:
        return Trust.DELEGATED
    return Trust.DENIED


def _has_action(actions: Any, action: str) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _as_list(actions))


def _conditions_hold(
    condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]
) -> bool:
    for operator, tests in condition.items():
        if operator not in {"StringEquals", "StringLike"}:
            raise NotImplementedError(f"the embedded AWS does not support condition {operator}")
        for key, expected in tests.items():
            value = context.get(key)
            if value is None:
                return False
            if operator == "StringEquals" and value not in _as_list(expected):
                return False
            if not any(fnmatchcase(value, pattern) for pattern in _as_list(expected)):
                return False
    return True


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
