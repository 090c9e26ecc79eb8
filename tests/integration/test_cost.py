"""What a refresh costs, in function calls: a count that is the same on every machine."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType

import pytest
from bench.stub import StubSts
from bench.world import Home

from assumed.app.standalone import Standalone
from assumed.clock import SystemClock
from assumed.sts.client import StsClient
from assumed.sts.tls_context import SharedTlsSession
from tests.aws_environment import clear_aws_environment
from tests.fakes import LONG_TERM, role

ROLES = 100
# Measured with botocore 1.44, plus a tenth. Raise one only with a reason.
MAX_CALLS_OF_ASSUME_ROLE = 2600
MAX_CALLS_OF_REFRESH = 6000


class Calls:
    """Counts the function calls of this thread, and of those that start meanwhile."""

    def __init__(self) -> None:
        self.count = 0

    def during(self, work: Callable[[], object]) -> int:
        before = self.count
        threading.setprofile(self._add)
        sys.setprofile(self._add)
        try:
            work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return self.count - before

    def _add(self, _frame: FrameType, what: str, _argument: object) -> None:
        self.count += what in {"call", "c_call"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path, "")
    home.configure(ROLES)
    home.store(ROLES, remaining=timedelta(hours=-1))
    clear_aws_environment(monkeypatch)
    return home


@pytest.mark.skipif(sys.gettrace() is not None, reason="coverage counts as calls")
def test_assume_role_makes_fewer_calls_than_botocore_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StubSts() as stub:
        for name, value in (home.environ | {"AWS_ENDPOINT_URL": stub.endpoint_url}).items():
            monkeypatch.setenv(name, value)
        session, sts, deploy = SharedTlsSession(), StsClient(SystemClock()), role("deploy")
        client = session.create_client("sts", "us-east-1")

        def with_assumed() -> None:
            sts.assume_role(deploy, LONG_TERM, session)

        def with_botocore() -> None:
            client.assume_role(RoleArn=deploy.role_arn, RoleSessionName=deploy.role_session_name)

        # The first one creates the client and opens the connection.
        with_assumed()
        with_botocore()
        ours, alone = Calls().during(with_assumed), Calls().during(with_botocore)
    assert ours <= MAX_CALLS_OF_ASSUME_ROLE
    assert ours <= 0.8 * alone


@pytest.mark.skipif(sys.gettrace() is not None, reason="coverage counts as calls")
def test_a_refresh_of_many_roles_makes_few_calls_for_each(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StubSts() as stub:
        for name, value in (home.environ | {"AWS_ENDPOINT_URL": stub.endpoint_url}).items():
            monkeypatch.setenv(name, value)
        standalone = Standalone(home.config, os.environ)
        standalone.refresh(["role-0"], force=False)
        others = [f"role-{number}" for number in range(1, ROLES)]
        # Without `force`, the command also asks STS for its time, once for all roles.
        calls = Calls().during(lambda: standalone.refresh(others, force=True))
        assert len(stub.calls()) == ROLES
    assert calls / (ROLES - 1) <= MAX_CALLS_OF_REFRESH
