"""Text of sections of the AWS config file.

Pure: it is given settings as botocore parses them, and returns lines that parse as these.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

# What the SDKs that share the rules of Rust, C and Java accept as a name unquoted. The AWS CLI
# quotes other names as a shell does (`aws configure`), and only botocore understands these.
_PLAIN_NAME = re.compile(r"[\w+./%@:-]+", re.ASCII)


def header(kind: str, name: str) -> str:
    """Return the header of a section without its brackets.

    Args:
        kind: `profile`, `services` or `sso-session`.
        name: the name of the section.
    """
    if (kind, name) == ("profile", "default"):
        return name
    return f"{kind} {name}" if _PLAIN_NAME.fullmatch(name) else f"{kind} {shlex.quote(name)}"


def section(header: str, settings: Mapping[str, Any]) -> str:
    """Return a section with the settings; a value that is a mapping becomes a nested block."""
    return f"[{header}]\n" + "".join(_lines(settings))


def _lines(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield f"{key} =\n"
            yield from (f"  {inner} = {text}\n" for inner, text in value.items())
        else:
            first, *rest = str(value).split("\n")
            yield f"{key} = {first}".rstrip() + "\n"
            yield from (f"  {line}\n" for line in rest if line)
