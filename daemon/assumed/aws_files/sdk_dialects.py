"""The credentials file as the JavaScript SDK reads it, which differs most from botocore."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from assumed.aws_files.ownership import LEGACY_TOKEN, MANAGED_KEYS

# `str.strip` also strips the separators 0x1c to 0x1f and 0x85, and not the byte order mark.
_SPACES = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_COMMENT = re.compile(rf"(?:^|[{_SPACES}])[#;]")
_TWO_WORDS = re.compile(
    rf"(?P<kind>[\w-]+)[{_SPACES}](?P<quote>[\"'])?(?P<name>[\w@+.%:/-]+)(?(quote)(?P=quote))",
    re.ASCII,
)
_KINDS = frozenset(("profile", "sso-session", "services"))


def read_like_javascript(
    lines: Sequence[str], wanted: Collection[str]
) -> dict[str, dict[str, tuple[str, int]]]:
    """Return sections as the JavaScript SDK reads them: by key, the value and its line's index.

    Unlike in botocore, a comment ends a value, sections with the same name are merged, keys are
    case-sensitive, and an indented line is a separate key or belongs to the last key without a
    value.

    Args:
        lines: the lines of the file.
        wanted: the sections whose keys are read; the other sections are returned empty.

    Source: @smithy/shared-ini-file-loader, parseIni.
    """
    sections: dict[str, dict[str, tuple[str, int]]] = {}
    section: dict[str, tuple[str, int]] | None = None
    parent = ""
    for index, line in enumerate(lines):
        if section is None and "[" not in line:
            continue
        text = line.strip(_SPACES)
        if ("#" in text or ";" in text) and (comment := _COMMENT.search(text)):
            text = text[: comment.start()].strip(_SPACES)
        if text.startswith("[") and text.endswith("]"):
            name, parent = _section_name(text[1:-1]), ""
            section = None if name is None else sections.setdefault(name, {})
            if name not in wanted:
                section = None
        elif section is not None and (equals := text.find("=")) > 0:
            key, value = text[:equals].rstrip(_SPACES), text[equals + 1 :].lstrip(_SPACES)
            if not value:
                parent = key
                continue
            if line[0] not in _SPACES:
                parent = ""
            section[f"{parent}.{key}" if parent else key] = (value, index)
    return sections


def _section_name(header: str) -> str | None:
    """Return the name of the section under a header, or None if the SDK ignores the section."""
    words = _TWO_WORDS.fullmatch(header)
    if words is None:
        return header
    return f"{words['kind']}.{words['name']}" if words["kind"] in _KINDS else None


def first_divergent_key(
    profile: str,
    values: Mapping[str, str],
    read_by_javascript: Mapping[str, Mapping[str, tuple[str, int]]],
) -> str | None:
    """Return the first managed key that other SDKs read differently, or None."""
    section = read_by_javascript.get(profile, {})
    for key in MANAGED_KEYS:
        if key not in section or section[key][0] != values[key]:
            return key
    return LEGACY_TOKEN if LEGACY_TOKEN in section else None
