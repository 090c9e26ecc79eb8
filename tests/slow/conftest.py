from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# The same cases in every run, so that a failure comes from the change under test; `make search`
# looks for new cases.
settings.register_profile("repeat", derandomize=True, deadline=None, max_examples=300)
settings.register_profile("search", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("repeat")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for all examples of a property, which a function's tmp_path cannot be."""
    return tmp_path_factory.mktemp("property")
