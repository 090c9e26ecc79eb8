from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for all examples of a property, which a function's tmp_path cannot be."""
    return tmp_path_factory.mktemp("property")
