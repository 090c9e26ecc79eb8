"""Paths of this repository that tests read, and the modules of the package as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
TESTS = REPOSITORY / "tests"
PACKAGE = REPOSITORY / "daemon" / "assumed"


@cache
def modules() -> Mapping[str, ast.Module]:
    """Parse every module of the package; by its path in there, such as `sts/client.py`."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
    }
