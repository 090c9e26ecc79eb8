"""Text edits of the configuration file: comments and formatting stay, and so do other values."""

from __future__ import annotations

from pathlib import Path

import pytest

from assumed.config.definition_editor import (
    ADOPTED_COMMENT,
    add_definition,
    is_adopted_definition,
    new_configuration,
    remove_definition,
)
from assumed.config.yaml_loader import YamlDocument
from assumed.errors import ConfigurationError

PATH = Path("config.yaml")
ROLE = "arn:aws:iam::222222222222:role/deploy"
LINES = ["dev:", f"  role_arn: {ROLE}", "  source_profile: base"]
ADDED = {"role_arn": ROLE, "source_profile": "base"}

FILES = {
    "plain": f"profiles:\n  a:\n    role_arn: {ROLE}\n    source_profile: base\n",
    "comments": f"# top\nprofiles:  # mine\n  # about a\n  a:  # a\n    role_arn: {ROLE}  # x\n"
    "    source_profile: base\n  # at the end of the definitions\n\n# about hooks\nhooks:\n"
    "  on_refresh: [notify-send, '# no comment']\n",
    "before others": "defaults:\n  region: eu-west-1\nprofiles:\n    a:\n        role_arn: x\n"
    "metrics:\n  port: 9464\n",
    "windows": f"profiles:\n  a:\n    role_arn: {ROLE}\n\nhooks: {{}}\n".replace("\n", "\r\n"),
    "a block of text": "profiles:\n  a:\n    policy: |\n      {\n\n      # no comment\n      1}\n",
    "an anchor": "profiles:\n  a: &a\n    role_arn: x\n  b:\n    <<: *a\n",
    "unicode": "# größe 個\nprofiles:\n  é:\n    tags: {team: 個}\n# ende\n",
    "an end mark": "---\nprofiles:\n  a:\n    role_arn: x\n...\n",
    "a blank tail": "profiles:\n  a:\n    role_arn: x\n\n\n\n",
    "flow definitions": "profiles:\n  a: {role_arn: x,\n    region: y}\n",
}


def add(text: str) -> str:
    return add_definition(text.encode(), LINES, "dev", path=PATH).decode()


def remove(text: str) -> str | None:
    data = remove_definition(text.encode(), "dev", path=PATH)
    return None if data is None else data.decode()


def value(text: str) -> dict[str, dict[str, object]]:
    document = YamlDocument(text)
    assert document.problems == []
    found: dict[str, dict[str, object]] = document.value
    return found


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_definition_is_added_after_the_others_and_removed_again(text: str) -> None:
    added = add(text)
    before, after = value(text), value(added)
    assert list(after["profiles"]) == [*before["profiles"], "dev"]
    assert after["profiles"].pop("dev") == ADDED
    assert after == before
    assert is_adopted_definition(added.encode(), "dev")
    assert not is_adopted_definition(text.encode(), "dev")
    assert remove(added) == text


def test_a_missing_final_line_end_is_added() -> None:
    text = FILES["plain"].rstrip("\n")
    assert remove(add(text)) == FILES["plain"]


def test_the_definition_goes_before_the_comment_of_the_next_key() -> None:
    assert add(FILES["comments"]).splitlines()[6:14] == [
        "  # at the end of the definitions",
        "",
        f"  {ADOPTED_COMMENT}",
        *(f"  {line}" for line in LINES),
        "",
        "# about hooks",
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"profiles": {"a": {"role_arn": "x"}}}',
        "profiles: {a: {role_arn: x}}\n",
        "profiles:\n  dev:\n    role_arn: x\n",
        "profiles:\n  a:\n    policy: |+\n      text\n\n\n",
        "profiles: &all\n",
        "profiles:\n  a: &a\n    role_arn: x\ndefaults: *b\n",
        "\ufeffprofiles:\n  a:\n    role_arn: x\n",
        "a: [\n",
        "- profiles\n",
    ],
)
def test_what_cannot_be_edited_is_rejected_with_the_lines_to_add(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"config\.yaml: no definition can be") as caught:
        add(text)
    assert f"\n  dev:\n    role_arn: {ROLE}\n" in caught.value.hint


def test_a_definition_that_adopt_did_not_write_stays() -> None:
    text = f"profiles:\n  dev:\n    role_arn: {ROLE}\n  a:\n    role_arn: x\n"
    with pytest.raises(ConfigurationError, match="definition dev was not added by"):
        remove(text)


def test_the_comments_that_a_user_adds_to_a_definition_go_with_it() -> None:
    text = FILES["plain"]
    rest = "  # about b\n  b: {}\n"
    assert remove(f"{add(text)}    # because\n    region: x\n{rest}") == f"{text}{rest}"


def test_the_only_definition_goes_with_a_file_that_holds_nothing_else() -> None:
    text = new_configuration([LINES])
    assert value(text) == {"profiles": {"dev": ADDED}}
    assert remove(text) is None
    assert remove(new_configuration([LINES, ["b:", "  role_arn: x"]])) is not None
    with pytest.raises(ConfigurationError, match="dev is the only definition"):
        remove(f"# mine\n{text}")


def test_a_definition_that_others_refer_to_is_not_removed() -> None:
    text = new_configuration([["dev: &dev", "  role_arn: x"], ["b: *dev"]])
    with pytest.raises(ConfigurationError, match="cannot be removed without changing another"):
        remove(text)
