"""The reference of the configuration file as Markdown: the last part of `docs/configuration.md`.

It is generated from the same models as the JSON Schema.
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
from assumed.models import LifetimeFraction
from assumed.text import duration_literal

_HEAD = """## Reference

This part is generated from the models that validate the file. Any other key is an error; the
message suggests the closest key that exists.
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
_TYPES = {
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
    schemas = {**definitions["$defs"], schema.ConfigurationModel.__name__: definitions}
    lines = [_HEAD]
    for title, note, model in _SECTIONS:
        lines += [f"### {title}", ""]
        lines += [note, ""] if note else []
        lines += ["| key | value | default | description |", "| --- | --- | --- | --- |"]
        lines += _rows(model, schemas[model.__name__]["properties"], schemas)
        lines.append("")
    return "\n".join(lines)


def _rows(
    model: type[BaseModel], properties: Mapping[str, Any], schemas: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in properties.items():
        description = value.get("description") or schemas[_target(value)]["description"]
        cells = (f"`{key}`", _value_text(value), _default_text(model, key), description)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _target(value: Mapping[str, Any]) -> str:
    return str(value["$ref"]).rpartition("/")[2]


def _value_text(value: Mapping[str, Any]) -> str:
    """Describe which values a key accepts."""
    if "$ref" in value:
        return "the keys below"
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if _DURATION in value.get("pattern", ""):
        percentage = ", or a percentage: `50%`" if "%" in value["pattern"] else ""
        shortest = _duration_text(value["minimum"])
        span = (
            f"{shortest} to {_duration_text(value['maximum'])}"
            if "maximum" in value
            else f"at least {shortest}"
        )
        return f"a duration, {span}{percentage}"
    types = value["type"] if isinstance(value["type"], list) else [value["type"]]
    words = " or ".join(_TYPES[each] for each in types)
    if "pattern" in value:
        words += f" like `{value['pattern']}`"
    if "items" in value:
        words += f" of {_TYPES[value['items']['type']].removeprefix('a ')}s"
    if "minimum" in value:
        words += f", {value['minimum']} to {value['maximum']}"
    for limit, unit in (("maxLength", " characters"), ("maxItems", ""), ("maxProperties", "")):
        if limit in value:
            words += f", at most {value[limit]}{unit}"
    return words


def _default_text(model: type[BaseModel], key: str) -> str:
    default = model.model_fields[key].default
    if key.endswith("_seconds"):
        default = timedelta(seconds=default)
    if isinstance(default, timedelta):
        return f"`{duration_literal(default)}`"
    if isinstance(default, bool):
        return f"`{default}`".lower()
    if isinstance(default, LifetimeFraction):
        return f"`{default.fraction:.0%}`"
    return f"`{default.value}`" if isinstance(default, Enum) else ""


def _duration_text(seconds: int) -> str:
    return duration_literal(timedelta(seconds=seconds))


if __name__ == "__main__":
    sys.stdout.write(reference())
