from __future__ import annotations

import pytest
from click.shell_completion import BashComplete

from assumed.cli.main import _assumed
from assumed.errors import UsageError


def test_a_bash_that_is_too_old_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_version() -> None:
        raise RuntimeError("Shell completion is not supported for Bash versions older than 4.4.")

    monkeypatch.setattr(BashComplete, "_check_version", staticmethod(check_version))
    with pytest.raises(UsageError, match=r"older than 4\.4") as raised:
        _assumed.main(["completion", "bash"], standalone_mode=False)
    assert raised.value.hint == "use bash 4.4 or later, zsh or fish"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_calls_assumed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    _assumed.main(["completion", shell], standalone_mode=False)
    assert f"_ASSUMED_COMPLETE={shell}_complete" in capsys.readouterr().out
