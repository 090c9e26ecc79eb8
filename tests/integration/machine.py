"""A machine that a real systemd boots: in namespaces, on an overlay of this machine's files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import assumed
from tests.integration.world import wait_until

_SCRIPT = Path(__file__).with_name("machine.sh")
_SYSTEMD = Path("/lib/systemd/systemd")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAMS = ("setpriv", "unshare", "nsenter", "runuser", "useradd", "dbus-daemon")
# They end with the process that started them.
_NAMESPACES = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--propagation=private"]
# For a playbook on a busy machine: it installs all dependencies.
_TIMEOUT_SECONDS = 600


def why_not() -> str | None:
    """Return why there cannot be such a machine here; None if there can."""
    return next(_reasons(), None)


class Machine:
    """A machine that has booted when the constructor returns."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "console.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*_NAMESPACES, "sh", str(_SCRIPT), str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        pid = directory / "pid"
        wait_until(lambda: self._alive() and pid.exists() and pid.read_text() != "", "its pid")
        self._enter = ["nsenter", "-t", pid.read_text().strip(), "-m", "-p", "-u", "-i", "-C"]
        wait_until(lambda: self._alive() and self._is_up(), "the machine")
        for path in _this_python():
            self.do("chmod", "o+rx", str(path))

    def run(
        self, *command: str, user: str = "root", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, with the environment of a login of this user."""
        return self._run(command, user, environ)

    def do(self, *command: str, user: str = "root", **environ: str) -> str:
        """Run a command that must succeed, and return its output."""
        return self._worked(self._run(command, user, environ))

    def write(self, path: str, content: str | bytes, *, user: str = "root") -> None:
        """Write a file with mode 0600; missing directories get mode 0700."""
        typed = content if isinstance(content, bytes) else content.encode()
        script = 'umask 077; mkdir -p "$(dirname "$0")" && cat > "$0"'
        self._worked(self._run(["sh", "-c", script, path], user, {}, typed))

    def add_user(self, name: str) -> None:
        self.do("useradd", "--create-home", "--shell", "/bin/bash", name)

    def uid(self, user: str) -> str:
        done = subprocess.run(  # noqa: S603
            [*self._enter, "id", "-u", user], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def journal(self) -> str:
        return self.do("journalctl", "--output=cat", "--no-pager")

    def power_off(self) -> None:
        """Stop everything in it; nothing remains."""
        if self._process.poll() is None:
            self.run("systemctl", "poweroff", "--no-wall")
        self._process.wait(_TIMEOUT_SECONDS)

    def _run(
        self, command: Sequence[str], user: str, environ: Mapping[str, str], typed: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        home = "/root" if user == "root" else f"/home/{user}"
        # With this, systemctl finds the user's manager if there is one.
        runtime = {} if user == "root" else {"XDG_RUNTIME_DIR": f"/run/user/{self.uid(user)}"}
        given = {"HOME": home, "USER": user, "PATH": _PATH, "LANG": "C.UTF-8", **runtime, **environ}
        done = subprocess.run(  # noqa: S603
            [
                *(*self._enter, "runuser", "-u", user, "--", "env", "-i", f"--chdir={home}"),
                *(f"{name}={value}" for name, value in given.items() if value),
                *command,
            ],
            input=typed,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        stdout, stderr = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(command, done.returncode, stdout, stderr)

    def _worked(self, done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _alive(self) -> bool:
        assert self._process.poll() is None, f"it does not boot:\n{self._log.read_text()}"
        return True

    def _is_up(self) -> bool:
        shown = subprocess.run(  # noqa: S603
            [*self._enter, "systemctl", "is-system-running"],
            capture_output=True,
            text=True,
            check=False,
        )
        return shown.stdout.strip() in {"running", "degraded"}


def _reasons() -> Iterator[str]:
    if any(Path(sys.prefix).is_relative_to(parent) for parent in ("/tmp", "/var/tmp")):  # noqa: S108
        yield f"{sys.prefix} is in a directory that PrivateTmp= of the unit hides"
    if os.geteuid() != 0:
        yield "only root may boot a machine"
    if missing := [name for name in _PROGRAMS if not shutil.which(name)]:
        yield f"there is no {' and no '.join(missing)}"
    if not _SYSTEMD.exists() or not any(Path("/usr/lib").glob("*/security/pam_systemd.so")):
        yield "systemd or libpam-systemd is not installed"
    if any(path.stat().st_uid for path in _this_python()):
        yield "no other user would trust this Python, which does not belong to root"
    tried = subprocess.run(  # noqa: S603
        [*_NAMESPACES, "--pid", "--fork", "--cgroup", "mount", "-t", "cgroup2", "none", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        yield f"no namespaces: {tried.stderr.strip()}"


def _this_python() -> Iterator[Path]:
    """Yield the directories that every user must be able to read to run this Python."""
    for directory in (sys.prefix, sys.base_prefix, *assumed.__path__):
        path = Path(directory).resolve()
        yield from (path, *path.parents)
