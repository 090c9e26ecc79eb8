"""Amazon Resource Names, and which regions and partitions belong together.

The partitions are botocore's data. They are read when first asked for, since importing botocore
takes longer than anything else here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

_PARTS = 6
_DEFAULT_PARTITION = "aws"
_DEFAULT_REGION = "us-east-1"
# IAM of the China partition is in Beijing; botocore's data name Ningxia as its global region.
_GLOBAL_REGIONS = {"aws-cn": "cn-north-1"}


@dataclass(frozen=True, slots=True)
class Arn:
    """`arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`; region and account may be empty."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> Arn:
        """Parse an ARN.

        Raises:
            ValueError: the text is not an ARN; the message does not quote it.
        """
        parts = text.split(":", _PARTS - 1)
        if len(parts) != _PARTS or parts[0] != "arn":
            raise ValueError("not an ARN")
        return cls(*parts[1:])

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"

    @property
    def role(self) -> Arn | None:
        """The role of an assumed-role session, without the role's path; None for other ARNs."""
        kind, _, names = self.resource.partition("/")
        if self.service != "sts" or kind != "assumed-role":
            return None
        return Arn(self.partition, "iam", "", self.account, f"role/{names.partition('/')[0]}")

    def session(self, name: str) -> Arn:
        """Return the ARN of a session of this role.

        Source: "IAM identifiers" in the IAM user guide: it has the role's name, not its path.
        """
        role_name = self.resource.rpartition("/")[2]
        return Arn(self.partition, "sts", "", self.account, f"assumed-role/{role_name}/{name}")


def is_arn(text: str) -> bool:
    """Whether a text is an ARN."""
    try:
        Arn.parse(text)
    except ValueError:
        return False
    return True


def account_of(text: str) -> str | None:
    """Return the account of an ARN; None if it names none, and for any other text."""
    return (Arn.parse(text).account or None) if is_arn(text) else None


def partition_of(text: str | None) -> str:
    """Return the partition of an ARN; `aws` for any other text, such as a token's serial number."""
    return Arn.parse(text).partition if text and is_arn(text) else _DEFAULT_PARTITION


def partition_of_region(region: str) -> str:
    """Return the partition of a region; `aws`, as botocore does, if none claims its name."""
    for partition in _partitions():
        if region in partition["regions"] or re.match(partition["regionRegex"], region):
            return str(partition["id"])
    return _DEFAULT_PARTITION


def default_region(partition: str) -> str:
    """Return the region whose STS is called for a role of this partition if none is named."""
    if partition in _GLOBAL_REGIONS:
        return _GLOBAL_REGIONS[partition]
    for known in _partitions():
        if known["id"] == partition:
            return str(known["outputs"]["implicitGlobalRegion"])
    return _DEFAULT_REGION


@cache
def _partitions() -> tuple[dict[str, Any], ...]:
    from botocore.loaders import create_loader  # noqa: PLC0415 - few callers need the partitions

    return tuple(create_loader().load_data("partitions")["partitions"])
