"""The file as the SDK reads it that differs most from botocore: the one for JavaScript."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from assumed.aws_files.ownership import OUR_KEYS, STALE_TOKEN

# Python takes the separators 0x1c to 0x1f and 0x85 for spaces too, and no byte order mark.
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


def read_like_other_sdks(
    lines: Sequence[str], wanted: Collection[str]
) -> dict[str, dict[str, tuple[str, int]]]:
    """Return sections as the JavaScript SDK reads them: by key, the value and its line's index.

    It is the SDK that differs most: comments end a value, sections of one name are merged,
    capitals count, an indented line is a key of its own, or of the last key without a value.

    Args:
        lines: of the file.
        wanted: the sections whose keys are read; of the others there is the name alone.

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
    """Return the name that a header gives its section; None where the section is ignored."""
    words = _TWO_WORDS.fullmatch(header)
    if words is None:
        return header
    return f"{words['kind']}.{words['name']}" if words["kind"] in _KINDS else None


def misread_key(
    profile: str,
    values: Mapping[str, str],
    read_by_others: Mapping[str, Mapping[str, tuple[str, int]]],
) -> str | None:
    """Return a key of ours that other SDKs read differently, if there is one."""
    section = read_by_others.get(profile, {})
    for key in OUR_KEYS:
        if key not in section or section[key][0] != values[key]:
            return key
    return STALE_TOKEN if STALE_TOKEN in section else None
