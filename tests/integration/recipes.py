"""Examples from the documents, for the tests that run them."""

from __future__ import annotations

import re

from tests.integration.world import World
from tests.repository import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
RECIPES = (REPOSITORY / "docs" / "recipes.md").read_text()


def credential_process(world: World, name: str) -> str:
    """Return the AWS profile `NAME-live` of the README, with `NAME` for the managed profile."""
    (recipe,) = re.findall(r"```ini\n(\[profile s3-read-only-live\]\n.*?)```", README, re.S)
    return installed(world, str(recipe).replace("s3-read-only", name))


def blocks(title: str, language: str) -> list[str]:
    """Return the code blocks of a language in one section of the recipes."""
    section = RECIPES.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.M | re.S)
    return [text for named, text in found if named == language]


def installed(world: World, text: str) -> str:
    """Return a text with every `assumed` replaced by the command that the tests run."""
    return re.sub(r"(?<=[= ])(/[\w./]*/)?assumed(?= )", " ".join(world.assumed), text)
