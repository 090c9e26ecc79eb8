"""The file as the SDK reads it that differs most from botocore: the one for JavaScript."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from assumed.profiles_file.ownership import OUR_KEYS, STALE_TOKEN

_COMMENT = re.compile(r"(?:^|\s)[#;]")


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
        text = line.strip()
        if ("#" in text or ";" in text) and (comment := _COMMENT.search(text)):
            text = text[: comment.start()].strip()
        if text.startswith("[") and text.endswith("]"):
            name, parent = text[1:-1], ""
            section = sections.setdefault(name, {})
            if name not in wanted:
                section = None
        elif section is not None and (equals := text.find("=")) > 0:
            key, value = text[:equals].rstrip(), text[equals + 1 :].lstrip()
            if not value:
                parent = key
                continue
            if not line[0].isspace():
                parent = ""
            section[f"{parent}.{key}" if parent else key] = (value, index)
    return sections


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
