from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


class Output:
    """Everything that was printed to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    return Output(capsys)


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root, assumed = logging.getLogger(), logging.getLogger("assumed")
    handlers, level, assumed_level = root.handlers[:], root.level, assumed.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    assumed.setLevel(assumed_level)
