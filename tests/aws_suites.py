"""The test suites that the AWS SDKs share, which are not part of this project.

`ASSUMED_AWS_SUITES` names their directory. A test without them is skipped, and says what is not
tested. What the suites teach is also tested by cases of our own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.repository import REPOSITORY


def suite(name: str, tests: str) -> Any:
    """Return the content of a JSON file of the suites.

    Args:
        name: its path below the directory of the suites.
        tests: what is not tested without it, for the report of skipped tests.
    """
    file = suite_path(name, tests)
    return json.loads(file.read_text())


def suite_path(name: str, tests: str) -> Path:
    """Return a path below the directory of the suites; arguments as in `suite`."""
    found = os.environ.get("ASSUMED_AWS_SUITES")
    directory = Path(found) if found else REPOSITORY.parent / "shared" / "aws-suites"
    path = directory / name
    if not path.exists():
        pytest.skip(f"NOT TESTED: {tests}: no {name} in {directory}, see ASSUMED_AWS_SUITES")
    return path
