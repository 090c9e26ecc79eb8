"""Credentials files that AWS SDKs read differently, with the AWS SDK for C (awscrt) as a judge."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.world import World
from tests.repository import REPOSITORY


def test_no_sdk_misreads_a_profile_or_another_after_an_edit_of_random_files() -> None:
    # A process of its own: awscrt starts threads.
    done = subprocess.run(
        [sys.executable, "-m", "tests.random_credentials", "300", "17"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    counts = {
        kind.strip(): int(number)
        for number, _, kind in (line.strip().partition(" ") for line in done.stdout.splitlines())
    }
    assert counts["misread or changed"] == 0
    assert counts["edited"] > 200
    assert counts["read by awscrt"] > 100
    assert counts["profile rejected"] > 0


def test_check_and_status_name_the_sdks_that_cannot_read_a_file_and_its_line(
    world: World,
) -> None:
    world.configure({"reports": world.add_role()})
    world.credentials.write_text(world.credentials.read_text() + "[mine]\n  region = eu-west-1\n")
    line = len(world.credentials.read_text().splitlines())
    said = (
        f"{world.credentials}:{line}: the AWS SDKs for Rust, Java, Kotlin and C (CRT) cannot read "
        "this file, because of this line: an indented line with no key above it"
    )

    check, status = world.run("check"), world.run("status")

    assert f"note: {said}\n" in check.stderr
    assert check.returncode == 0
    assert status.stdout.splitlines().count(said) == 1


@pytest.mark.parametrize("command", ["check", "status"])
def test_a_file_that_all_sdks_can_read_is_not_mentioned(world: World, command: str) -> None:
    world.configure({"reports": world.add_role()})

    done = world.run(command)

    assert "cannot read this file" not in done.stdout + done.stderr
