from __future__ import annotations

import pytest

from assumed.cli.output import print_error
from assumed.errors import DaemonUnreachableError, UsageError
from assumed.fastpath.main import CommandFailedError

MESSAGE, HINT = "no\x1b[2J", "see `assumed status`\x07"


@pytest.mark.parametrize("kind", [UsageError, DaemonUnreachableError])
def test_an_error_has_the_text_that_other_commands_print(
    kind: type[UsageError | DaemonUnreachableError], capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(kind(MESSAGE, hint=HINT))
    printed = capsys.readouterr().err
    assert f"{CommandFailedError(MESSAGE, hint=HINT, code=kind.code).text}\n" == printed
    assert printed == f"assumed: {kind.code}: no\\x1b[2J\n  see `assumed status`\\x07\n"
