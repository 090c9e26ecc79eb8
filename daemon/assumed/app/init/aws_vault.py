"""Keys of aws-vault in a profile, and their equals in a definition.

Source: aws-vault, USAGE.md, "Using credential helper" and "session tags", and vault/config.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from assumed.app.init.draft import DefinitionValue

_SHELL = re.compile(r"[|&;<>$`(){}*?~\n]")


def _tags(text: str) -> Mapping[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _keys(text: str) -> list[str]:
    return [key.strip() for key in text.split(",") if key.strip()]


def _command(text: str) -> DefinitionValue:
    # aws-vault passes it to a shell, and assumed does not.
    return ["/bin/sh", "-c", text] if _SHELL.search(text) else text


EQUALS: Mapping[str, tuple[str, Callable[[str], DefinitionValue]]] = {
    "mfa_process": ("mfa_process", _command),
    "session_tags": ("tags", _tags),
    "transitive_session_tags": ("transitive_tag_keys", _keys),
    "source_identity": ("source_identity", str),
}
"""The key of a definition and the conversion of the value, by the key of aws-vault."""
