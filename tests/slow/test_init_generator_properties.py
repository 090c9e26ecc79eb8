"""Properties of what tests/unit/app/init/test_generator.py tests by example."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assumed.app.init.yaml_writer import comment, scalar
from assumed.config.yaml_loader import YamlDocument

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(value=ANY_TEXT)
def test_scalar_keeps_any_value(value: str) -> None:
    document = YamlDocument(f"profiles:\n  {scalar(value)}:\n    a: {scalar(value)}\n")
    assert document.problems == []
    assert document.value == {"profiles": {value: {"a": value}}}


@given(text=ANY_TEXT)
def test_comment_keeps_any_text_a_comment(text: str) -> None:
    lines = "\n".join(comment(f"Profile {text}", indent="  "))
    assert YamlDocument(f"{lines}\nprofiles: {{}}\n").value == {"profiles": {}}
