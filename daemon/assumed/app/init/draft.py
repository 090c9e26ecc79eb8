"""A definition that `init` proposes, before it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assumed.aws_files.profiles import AwsProfile

DefinitionValue = str | Sequence[str] | Mapping[str, str]
Definition = Mapping[str, DefinitionValue]


@dataclass(slots=True)
class DraftDefinition:
    """A definition before it is written.

    Args:
        profile: of the AWS files, that it is made from.
        name: of the definition.
        keys: of the definition, in the order in which they are written.
        key_comments: behind keys.
        optional: keys that the user may have to add, written as comments.
        notes: above the definition.
        reason: why the whole definition is a comment.
        parent: the profile of the AWS files whose definition is its source.
    """

    profile: AwsProfile
    name: str
    keys: dict[str, DefinitionValue] = field(default_factory=dict)
    key_comments: dict[str, str] = field(default_factory=dict)
    optional: dict[str, DefinitionValue] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reason: str | None = None
    parent: str | None = None

    def text(self, key: str) -> str:
        """Return the value of a key that is a text; empty if it is not there."""
        value = self.keys.get(key, "")
        return value if isinstance(value, str) else ""
