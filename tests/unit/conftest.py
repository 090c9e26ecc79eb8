from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader


@pytest.fixture(scope="session", autouse=True)
def _botocore_data_is_parsed_once() -> Iterator[None]:
    """Each botocore session would parse the list of all endpoints, longer than most tests take."""
    load_file = JSONFileLoader.load_file
    parse = cache(lambda path: load_file(JSONFileLoader(), path))

    def load(_: JSONFileLoader, path: str) -> Any:
        return parse(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load)
        yield
