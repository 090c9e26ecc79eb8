"""The reference of the configuration file: `python -m assumed.config.reference` prints it.

It is generated from the same types as the JSON Schema, and is the last part of
`docs/configuration.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

from pydantic import BaseModel

from assumed.config import schema
from assumed.config.json_schema import json_schema

_HEAD = """## Reference

This part is generated from the types that read the file. Any other key is an error; the message
names the closest key that exists.
"""
_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("Top level", "", schema.ConfigurationModel),
    (
        "A profile, or `defaults`",
        "A key of a profile takes precedence over the same key of `defaults`.",
        schema.ProfileModel,
    ),
    ("`credentials_file`", "", schema.CredentialsFileModel),
    ("`hooks`", "", schema.HooksModel),
    ("`metrics`", "", schema.MetricsModel),
)
_KINDS = {
    "string": "a string",
    "integer": "a number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_DURATION = r"(\d+h)?(\d+m)?(\d+s?)?"


def reference() -> str:
    """Return the reference as Markdown."""
    definitions = json.loads(json_schema())
    shapes = {**definitions["$defs"], schema.ConfigurationModel.__name__: definitions}
    lines = [_HEAD]
    for title, note, model in _SECTIONS:
        lines += [f"### {title}", ""]
        lines += [note, ""] if note else []
        lines += [
            "| key | value | default | meaning |",
            "| --- | --- | --- | --- |",
        ]
        lines += _rows(model, shapes[model.__name__]["properties"], shapes)
        lines.append("")
    return "\n".join(lines)


def _rows(
    model: type[BaseModel], properties: Mapping[str, Any], shapes: Mapping[str, Any]
) -> Iterator[str]:
    for key, allowed in properties.items():
        described = allowed.get("description") or shapes[_target(allowed)]["description"]
        cells = (f"`{key}`", _allowed(allowed), _default(model, key), described)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _target(allowed: Mapping[str, Any]) -> str:
    return str(allowed["$ref"]).rpartition("/")[2]


def _allowed(allowed: Mapping[str, Any]) -> str:
    """Describe the values that a key takes."""
    if "$ref" in allowed:
        return "the keys below"
    if "enum" in allowed:
        return ", ".join(f"`{value}`" for value in allowed["enum"])
    if _DURATION in allowed.get("pattern", ""):
        share = ", or a percentage: `50%`" if "%" in allowed["pattern"] else ""
        least = _duration(allowed["minimum"])
        span = (
            f"{least} to {_duration(allowed['maximum'])}"
            if "maximum" in allowed
            else f"from {least}"
        )
        return f"a duration, {span}{share}"
    kinds = allowed["type"] if isinstance(allowed["type"], list) else [allowed["type"]]
    words = " or ".join(_KINDS[kind] for kind in kinds)
    if "pattern" in allowed:
        words += f" matching `{allowed['pattern']}`"
    if "items" in allowed:
        words += f" of {_KINDS[allowed['items']['type']].removeprefix('a ')}s"
    if "minimum" in allowed:
        words += f", {allowed['minimum']} to {allowed['maximum']}"
    for limit, unit in (("maxLength", " characters"), ("maxItems", ""), ("maxProperties", "")):
        if limit in allowed:
            words += f", at most {allowed[limit]}{unit}"
    return words


def _default(model: type[BaseModel], key: str) -> str:
    default = model.model_fields[key].default
    if key.endswith("_seconds"):
        default = timedelta(seconds=default)
    if isinstance(default, timedelta):
        return f"`{_duration(default.total_seconds())}`"
    if isinstance(default, bool):
        return f"`{default}`".lower()
    return f"`{default.value}`" if isinstance(default, Enum) else ""


def _duration(seconds: float) -> str:
    hours, minutes = int(seconds) // 3600, int(seconds) // 60 % 60
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")


if __name__ == "__main__":
    sys.stdout.write(reference())
