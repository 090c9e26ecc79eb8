from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# In another process: some of it cannot be undone.
HARDENED = """
import ctypes, json, os, resource, sys
from pathlib import Path
from assumed.platform.hardening import harden_process
exec(sys.argv[1])
harden_process()
Path("file").touch()
Path("directory").mkdir()
PR_GET_DUMPABLE = 3
print(json.dumps({
    "file": Path("file").stat().st_mode & 0o777,
    "directory": Path("directory").stat().st_mode & 0o777,
    "umask": os.umask(0),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "is_dumpable": ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0),
}))
"""


def hardened(directory: Path, first: str = "") -> dict[str, Any]:
    """Return the state of a process that ran `first` and then was hardened."""
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", HARDENED, first],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert ended.stderr == ""
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_hardened_process_creates_private_files(tmp_path: Path) -> None:
    found = hardened(tmp_path, "os.umask(0)")
    assert found["umask"] == 0o077
    assert found["file"] == 0o600
    assert found["directory"] == 0o700


def test_a_hardened_process_has_a_core_limit_of_zero(tmp_path: Path) -> None:
    assert hardened(tmp_path)["core"] == [0, 0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has prctl")
def test_a_hardened_process_is_not_dumpable(tmp_path: Path) -> None:
    assert hardened(tmp_path)["is_dumpable"] == 0


def test_harden_process_works_if_the_core_limit_is_zero(tmp_path: Path) -> None:
    first = "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    assert hardened(tmp_path, first)["core"] == [0, 0]


def test_harden_process_works_if_the_core_limit_cannot_be_set(tmp_path: Path) -> None:
    first = """
def refuse(*_):
    raise ValueError("not allowed to raise maximum limit")
resource.setrlimit = refuse
"""
    found = hardened(tmp_path, first)
    assert found["umask"] == 0o077
    if sys.platform == "linux":
        assert found["is_dumpable"] == 0


def test_harden_process_can_run_twice(tmp_path: Path) -> None:
    assert hardened(tmp_path, "harden_process()") == hardened_again(tmp_path)


def hardened_again(directory: Path) -> dict[str, Any]:
    (directory / "file").unlink()
    (directory / "directory").rmdir()
    return hardened(directory)
