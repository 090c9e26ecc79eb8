"""The JSON Schema of the configuration file; `python -m assumed.config.json_schema` prints it."""

from __future__ import annotations

import json
import sys

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from assumed.config.schema import ConfigurationModel


class _SchemaWithoutDefaults(GenerateJsonSchema):
    """A schema without titles and default values, which the descriptions mention."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, _: object) -> bool:
        return False


def json_schema() -> str:
    """Return the JSON Schema as `config/assumed.schema.json` contains it."""
    generated = ConfigurationModel.model_json_schema(schema_generator=_SchemaWithoutDefaults)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | generated, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
