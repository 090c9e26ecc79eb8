"""The variables of the environment that decide what an AWS library does."""

from __future__ import annotations

import os

import pytest


def clear_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of AWS and of proxies."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def ignore_aws_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of AWS and of proxies, and have no AWS file read."""
    clear_aws_environment(monkeypatch)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
