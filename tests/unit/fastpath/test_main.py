from __future__ import annotations

import click
import pytest

from assumed.cli.output import print_error, print_refresh_errors
from assumed.errors import DaemonUnreachableError, RefreshFailedError, UsageError
from assumed.fastpath.main import CommandFailedError

MESSAGE, HINT = "no\x1b[2J", "see `assumed status`\x07"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.removesuffix("\n")


@pytest.mark.parametrize("kind", [UsageError, DaemonUnreachableError])
def test_an_error_has_the_text_that_other_commands_print(
    kind: type[UsageError | DaemonUnreachableError], capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(kind(MESSAGE, hint=HINT))
    assert CommandFailedError(MESSAGE, hint=HINT, code=kind.code).text == printed(capsys)


@pytest.mark.parametrize("before", ["", "profile deploy: "])
def test_a_failed_refresh_has_the_text_that_other_commands_print(
    before: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message, code = f"{before}{MESSAGE}", "AccessDenied"
    with pytest.raises(click.exceptions.Exit), print_refresh_errors("deploy"):
        raise RefreshFailedError(message, hint=HINT, code=code)
    error = CommandFailedError(message, hint=HINT, code=code, profile="deploy")
    assert error.text == printed(capsys)
    assert error.text == "deploy: AccessDenied: no\\x1b[2J\n  see `assumed status`\\x07"
