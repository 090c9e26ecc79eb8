"""What the client says of a daemon that does not answer."""

from __future__ import annotations

import pytest

from assumed.fastpath.unix_http import describe_failure


@pytest.mark.parametrize(
    ("path", "restart"),
    [
        ("/run/user/1000/assumed/assumed.sock", "`systemctl --user restart assumed`"),
        ("/run/assumed/ci/assumed.sock", "`sudo systemctl restart assumed@ci`"),
    ],
)
@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), ValueError()])
def test_the_hint_restarts_the_unit_that_listens_there(
    path: str, restart: str, error: Exception
) -> None:
    message, hint = describe_failure(path, error)
    assert message.startswith(f"the daemon at {path} ")
    assert restart.strip("`") in hint
