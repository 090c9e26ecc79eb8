from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("default")


def demo(home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COV")}
    home_and_path = {"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": "/tmp"}  # noqa: S108
    return subprocess.run(
        [sys.executable, "-m", "assumed", "demo"],
        env={**coverage, **home_and_path, **environ},
        umask=0o002,  # as it is on Ubuntu
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_runs_every_step_and_leaves_the_home_directory_alone(tmp_path: Path) -> None:
    done = demo(tmp_path, AWS_PROFILE="unknown", AWS_ACCESS_KEY_ID="AKIAFOREIGN")
    assert done.returncode == 0, done.stdout + done.stderr
    rest = done.stdout
    steps = [
        "1. A user without permissions",
        "(AccessDenied) when calling the ListObjectsV2 operation",
        "2. By hand",
        "q3.csv",
        "3. With assumed",
        "$ assumed run &",
        "4. The profile works",
        "q3.csv",
        "(AccessDenied) when calling the PutObject operation",
        "5. Time passes",
        "(ExpiredToken) when calling the ListObjectsV2 operation",
        "q3.csv",
        "profile_refreshed profile=s3-read-only",
        "$ assumed status",
        "valid",
        "Every step succeeded",
    ]
    for step in steps:
        _, found, rest = rest.partition(step)
        assert found, f"{step!r} is missing in:\n{done.stdout}"
    assert list(tmp_path.iterdir()) == []


def test_the_demo_fails_if_a_step_has_another_result(tmp_path: Path) -> None:
    # An `aws` that succeeds without output: the expected AccessDenied is missing.
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    aws = tmp_path / "bin" / "aws"
    aws.write_text("#!/bin/sh\n")
    aws.chmod(0o755)
    done = subprocess.run(  # noqa: S603
        [str(python), "-m", "assumed", "demo"],
        env={
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "The demo failed: `aws s3 ls s3://reports --profile learnaws-test-user` exited with" in (
        done.stdout
    )
