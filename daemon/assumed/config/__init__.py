"""Configuration: YAML to profile definitions.

| to change | open |
| --- | --- |
| which keys exist, and their descriptions | `schema` |
| what a value may be, and the message for an invalid one | `fields` |
| what must hold between keys and between profiles | `validation` |
| how defaults and keys become definitions | `definitions` |
| how YAML becomes values with line numbers | `yaml_loader` |
| who may write the file | `permissions` |
| where the file is, and the steps from file to definitions | `loader` |
| the JSON Schema and the reference that are generated from the keys | `json_schema`, `reference` |
"""
