"""`StsClient.endpoint_url`: where the calls for a profile go, as botocore resolves it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import create_loader
from botocore.session import Session as BotocoreSession

from assumed.clock import SystemClock
from assumed.errors import StsRequestRejectedError
from assumed.sts.client import StsClient
from tests.fakes import role

LOADER = create_loader()


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


class CountingSession(BotocoreSession):
    def __init__(self, profile: str | None = None) -> None:
        super().__init__(profile=profile)
        self.register_component("data_loader", LOADER)
        self.clients = 0

    def create_client(self, *args: Any, **options: Any) -> Any:
        self.clients += 1
        return super().create_client(*args, **options)


def test_the_url_is_that_of_the_region_and_is_resolved_once_for_a_session() -> None:
    sts, session = StsClient(SystemClock()), CountingSession()
    urls = [
        sts.endpoint_url(definition, session)
        for definition in (role("a", region="eu-west-1"), role("b", region="eu-west-1"), role("c"))
    ]
    assert urls == [
        "https://sts.eu-west-1.amazonaws.com",
        "https://sts.eu-west-1.amazonaws.com",
        "https://sts.us-east-1.amazonaws.com",
    ]
    assert session.clients == 2


def test_the_settings_of_the_source_profile_count(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile own]\nendpoint_url = https://sts.example/\n"
        "[profile global]\nregion = us-west-2\nsts_regional_endpoints = legacy\n"
        "[profile fips]\nregion = us-east-2\nuse_fips_endpoint = true\n"
    )
    sts = StsClient(SystemClock())
    urls = [
        sts.endpoint_url(role("deploy"), CountingSession(name))
        for name in ("own", "global", "fips")
    ]
    assert urls == [
        "https://sts.example",
        "https://sts.amazonaws.com",
        "https://sts-fips.us-east-2.amazonaws.com",
    ]


@pytest.mark.parametrize("url", ["http://sts.example", "nonsense"])
def test_an_endpoint_that_cannot_be_called_is_an_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(StsRequestRejectedError):
        StsClient(SystemClock()).endpoint_url(role("deploy"), CountingSession())
