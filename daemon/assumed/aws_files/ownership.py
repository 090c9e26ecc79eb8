"""Ownership of a profile: managed by assumed, an IAM user's keys, or another tool's."""

from __future__ import annotations

import re
from collections.abc import Mapping

MANAGER = "assumed"
"""The value of the key `manager` in a profile that assumed manages."""

ADOPTED_MARK = "# adopted by assumed: "
"""What stands in front of a line that `assumed adopt` commented out."""

MANAGED_KEYS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_account_id",
    "x_security_token_expires",
    "x_principal_arn",
    "manager",
)
"""The keys that assumed writes in a profile, in this order."""

LONG_TERM_KEYS = ("aws_access_key_id", "aws_secret_access_key")

# botocore prefers this old name to `aws_session_token` (credentials.py, TOKENS).
LEGACY_TOKEN = "aws_security_token"  # noqa: S105 -- the name of a key

EDITED_KEYS = frozenset((*MANAGED_KEYS, LEGACY_TOKEN))
"""The keys that an edit writes or removes."""

_LONG_TERM_PREFIX, _TEMPORARY_PREFIX = "AKIA", "ASIA"


def is_managed(section: Mapping[str, str]) -> bool:
    """Whether assumed wrote a section, as `read` returns it."""
    return section.get("manager") == MANAGER


def is_long_term_key(access_key_id: str) -> bool:
    """Whether the prefix of an access key ID says that it is an IAM user's, which never expires.

    Source: the prefixes of the IAM user guide, "IAM identifiers": AKIA for long-term access keys,
    ASIA for temporary ones.
    """
    return access_key_id.startswith(_LONG_TERM_PREFIX)


def is_long_term(section: Mapping[str, str]) -> bool:
    """Whether a section, as `read` returns it, holds long-term keys, managed by assumed or not.

    Keys with neither prefix of the IAM user guide are long-term if there is no token.
    """
    access_key_id = section.get("aws_access_key_id", "")
    if is_long_term_key(access_key_id):
        return True
    if access_key_id.startswith(_TEMPORARY_PREFIX):
        return False
    has_keys = any(section.get(key) for key in LONG_TERM_KEYS)
    return has_keys and not (section.get("aws_session_token") or section.get(LEGACY_TOKEN))


def other_manager(section: Mapping[str, str]) -> str | None:
    """Return the other tool that manages a section, or None.

    Source: the keys that the tools write: awsume (`manager`, `autoawsume`), granted
    (`granted_sso_…`, `common_fate_generated_from`, its own credential_process), saml2aws
    (`x_principal_arn`, `x_security_token_expires`, which several other tools copied from it).
    """
    manager = section.get("manager", "")
    if manager == MANAGER:
        return None
    if manager:
        return manager if re.fullmatch(r"[\w.-]{1,40}", manager) else "another tool"
    if "autoawsume" in section:
        return "awsume"
    if (
        any(key.startswith(("granted_", "common_fate_")) for key in section)
        or "granted" in section.get("credential_process", "").split(" ", 1)[0]
    ):
        return "granted"
    if "x_principal_arn" in section or "x_security_token_expires" in section:
        return "saml2aws, or a tool that marks its profiles in the same way"
    return None
