"""Whose a section is: ours, somebody's long-term keys, another tool's."""

from __future__ import annotations

import re
from collections.abc import Mapping

OUR_MARK = "assumed"
"""The value of `manager` that makes a section ours."""

OUR_KEYS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_account_id",
    "x_security_token_expires",
    "x_principal_arn",
    "manager",
)
"""What is written in a profile, in this order."""

LONG_TERM_KEYS = ("aws_access_key_id", "aws_secret_access_key")

# botocore prefers this old name to `aws_session_token` (credentials.py, TOKENS).
STALE_TOKEN = "aws_security_token"  # noqa: S105 -- the name of a key

WRITTEN_KEYS = frozenset((*OUR_KEYS, STALE_TOKEN))
"""What an edit writes or takes away."""


def is_ours(section: Mapping[str, str]) -> bool:
    """Whether a section, as `read` returns it, bears our mark."""
    return section.get("manager") == OUR_MARK


def is_long_term(section: Mapping[str, str]) -> bool:
    """Whether a section, as `read` returns it, holds an IAM user's keys, with our mark or without.

    Source: the prefixes of the IAM user guide, "IAM identifiers": AKIA for long-term access keys,
    ASIA for temporary ones. Keys with another prefix are long-term where there is no token.
    """
    access_key_id = section.get("aws_access_key_id", "")
    if access_key_id.startswith(("AKIA", "ASIA")):
        return access_key_id.startswith("AKIA")
    has_keys = any(section.get(key) for key in LONG_TERM_KEYS)
    return has_keys and not (section.get("aws_session_token") or section.get(STALE_TOKEN))


def other_manager(values: Mapping[str, str]) -> str | None:
    """Return the tool whose mark a section bears, where it is not ours.

    Source: what the tools write: awsume (`manager`, `autoawsume`), granted (`granted_sso_…`,
    `common_fate_generated_from`, its own credential_process), saml2aws (`x_principal_arn`,
    `x_security_token_expires`, which several others took over from it).
    """
    manager = values.get("manager", "")
    if manager == OUR_MARK:
        return None
    if manager:
        return manager if re.fullmatch(r"[\w.-]{1,40}", manager) else "another tool"
    if "autoawsume" in values:
        return "awsume"
    if (
        any(key.startswith(("granted_", "common_fate_")) for key in values)
        or "granted" in values.get("credential_process", "").split(" ", 1)[0]
    ):
        return "granted"
    if "x_principal_arn" in values or "x_security_token_expires" in values:
        return "saml2aws, or a tool that marks its profiles in the same way"
    return None
