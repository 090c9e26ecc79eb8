"""The modules that docs/architecture.md names exist, and no package is missing from it."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.repository import PACKAGE, REPOSITORY

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
MODULES = sorted(set(re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)`", PAGE)) - {"assumed.", "api.md"})
TOP_LEVEL = sorted(
    path.stem if path.is_file() else path.name
    for path in PACKAGE.iterdir()
    if (path.suffix == ".py" and path.stem not in {"__init__", "__main__"})
    or (path / "__init__.py").exists()
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_the_page_names_exists(module: str) -> None:
    name = module if module.startswith("assumed.") else f"assumed.{module}"
    assert importlib.util.find_spec(name) is not None


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_the_table_of_packages_has_every_package(name: str) -> None:
    table = PAGE.partition("## Packages")[2].partition("```")[0]
    assert re.search(rf"^\|.*`{name}`.*\|.*\|", table, re.M), f"{name} is missing"
