"""Properties of what tests/unit/config/test_definition_editor.py tests by example."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assumed.config.yaml_loader import YamlDocument
from assumed.errors import ConfigurationError
from tests.unit.config.test_definition_editor import ADDED, add, remove, value

_names = st.sampled_from(("a", "b", "'c d'", '"é"', "profiles"))


_bodies = st.sampled_from(
    (" {}", " {role_arn: x}  # c", "\n    role_arn: x", "\n    role_arn: x\n    # c\n",
     "\n    policy: |\n      a\n      # b\n", "\n    policy: >-\n      a\n\n      b",
     "\n    tags:\n      a: b\n  # c", "\n    role_arn: 'x\n\n      y'",
     "\n    policy_arns:\n    - x\n    - y")
)  # fmt: skip


_tops = st.sampled_from(
    ("", "# c\n", "\n\n", "hooks: {}\n", "hooks:\n  on_refresh: [x]\n", "  # c\n", "---\n")
)


@given(st.dictionaries(_names, _bodies, min_size=1), _tops, _tops, st.booleans())
def test_whatever_is_added_can_be_removed_again(
    definitions: dict[str, str], before: str, after: str, is_ended: bool
) -> None:
    body = "\n".join(f"  {name}:{text.rstrip(chr(10))}" for name, text in definitions.items())
    text = f"{before}profiles:\n{body}\n{after}"
    text = text if is_ended else text.rstrip("\n")
    if YamlDocument(text).problems:
        return
    try:
        added = add(text)
    except ConfigurationError:
        return
    found = value(added)
    assert found["profiles"].pop("dev") == ADDED
    assert found == value(text)
    removed = remove(added)
    assert removed in {text, f"{text}\n"}
