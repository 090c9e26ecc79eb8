"""Run real clients through sessions that expire, and write the table of docs/clients.md.

`make clients` installs the clients of programs.py into `.venv-clients/`, starts the embedded AWS
with sessions of 15 seconds, and lets each client live in one process, by each way, while a
`[default]` profile with other keys is in the credentials file. The log of the server says which
key signed each request. It takes about 20 minutes. With names of programs as arguments, it runs
these alone and keeps the other rows.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from tests.clients import install
from tests.clients.programs import CLIENTS, Client
from tests.clients.verdicts import RESULTS, WAYS, Request, judge, write_page
from tests.integration.world import AwsServer, World

PROFILE = "lives"
SESSION_SECONDS = 15
_AT_ONCE = 3
# Long enough for three sessions to expire after a slow start.
_LIFE_SECONDS = 4 * SESSION_SECONDS
_END_SECONDS = 15
_COLUMN = {"name": "a", "type": "integer", "nullable": True, "metadata": {}}
_TABLE_LOG = '{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}\n' + json.dumps(
    {
        "metaData": {
            "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps({"type": "struct", "fields": [_COLUMN]}),
            "partitionColumns": [],
            "configuration": {},
            "createdTime": 0,
        }
    }
)
OBJECTS = {
    "object": "text",
    "object.csv": "a,b\n1,2\n",
    "table/_delta_log/00000000000000000000.json": _TABLE_LOG,
}


class Life:
    """One process of one client, by one way."""

    def __init__(self, world: World, role: str, client: Client, way: str) -> None:
        self.client, self.way = client, way
        self._world, self._role = world, role
        self.bucket = f"{client.program}-{CLIENTS.index(client)}-{way}"
        self._directory = world.home / self.bucket
        self._directory.mkdir()
        self._stop = self._directory / "stop"
        world.server.ask("objects", {"bucket": self.bucket, "objects": OBJECTS})
        before = {
            "exec": [*world.assumed, "exec", PROFILE, "--"],
            "env": [*world.assumed, "exec", PROFILE, "--env", "--"],
        }.get(way, [])
        name = PROFILE if way == "file" else f"{PROFILE}-{way}"
        more = {} if before else {"AWS_PROFILE": name}
        url = world.server.endpoint_url
        arguments = [url, url.removeprefix("http://"), self.bucket, str(self._stop)]
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [*before, *install.command(client), *arguments],
                env=world.environ | install.environ(client) | more,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def is_over(self) -> bool:
        """Return whether it has ended by itself."""
        return self._process.poll() is not None

    def requests(self) -> list[Request]:
        """Return its requests by now, from the log of the server."""
        found = self._world.server.ask("requests_for", self.bucket)
        return [Request(each["at"], each["key"], each["status"]) for each in found]

    def verdict(self) -> str:
        """Return what the log of the server says by now."""
        return judge(self.requests(), self._world.server.ask("sessions", self._role))

    def end(self) -> str:
        """Let it end, and return its verdict."""
        self._stop.touch()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return self.verdict()

    def output(self) -> str:
        """Return the end of what it has said."""
        return (self._directory / "output").read_text(errors="replace")[-600:]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("programs", nargs="*", help="run these alone")
    parser.add_argument("--impatient", action="store_true", help="wait for no slow re-reader")
    options = parser.parse_args(arguments)
    install.install()
    chosen = [each for each in CLIENTS if not options.programs or each.program in options.programs]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        server = AwsServer(lifetime_scale=SESSION_SECONDS / 3600, module="tests.clients.server")
        stack.callback(server.stop)
        world = World(Path(directory), server)
        role = _prepare(world)
        stack.enter_context(world.running())
        _run(world, role, chosen, is_patient=not options.impatient)
    write_page()
    return 0


def _prepare(world: World) -> str:
    """Write the AWS files and the configuration; return the role."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    role = world.server.add_role(everything, trusts=world.user_arn)
    _, key, secret = world.server.add_user(everything)
    world.configure({PROFILE: role})
    process = f"credential_process = {' '.join(world.assumed)} export-credentials --profile lives\n"
    region = "region = us-east-1\n"
    with world.credentials.open("a") as file:
        file.write(
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n\n"
            f"[{PROFILE}-credentials]\n{process}"
        )
    world.credentials.with_name("config").write_text(
        f"[profile {PROFILE}]\n{region}\n[profile {PROFILE}-credentials]\n{region}\n"
        f"[profile {PROFILE}-config]\n{region}{process}"
    )
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        world.environ.pop(name, None)
    # STS alone: each client gets the address of S3 as an argument.
    world.environ["AWS_ENDPOINT_URL_STS"] = world.server.endpoint_url
    return role


def _run(world: World, role: str, clients: Sequence[Client], *, is_patient: bool) -> None:
    """Run the clients, a few at a time, and keep what each has shown."""
    began_at = time.monotonic()
    slow = [each for each in clients if is_patient and each.reread_seconds]
    patient = [Life(world, role, each, "file") for each in slow]
    found: dict[str, dict[str, str]] = {each.name: {} for each in clients}
    for start in range(0, len(clients), _AT_ONCE):
        group = clients[start : start + _AT_ONCE]
        lives = [
            Life(world, role, client, way)
            for client in group
            for way in WAYS
            if way != "file" or client not in slow
        ]
        give_up_at = time.monotonic() + _LIFE_SECONDS
        while time.monotonic() < give_up_at and not all(
            life.is_over() or life.verdict() == "yes" for life in lives if life.way != "env"
        ):
            time.sleep(1)
        for life in lives:
            _note(found, life)
        for client in group:
            _keep(client, found[client.name])
    for life in sorted(patient, key=lambda life: life.client.reread_seconds):
        needed = life.client.reread_seconds + 2 * SESSION_SECONDS
        while time.monotonic() - began_at < needed:
            time.sleep(1)
        _note(found, life)
        _keep(life.client, found[life.client.name])


def _note(found: dict[str, dict[str, str]], life: Life) -> None:
    verdict = life.end()
    found[life.client.name][life.way] = verdict
    sys.stdout.write(f"{life.client.name}, {life.way}: {verdict}\n")
    requests = life.requests()
    for key, group in groupby(requests, lambda each: each.key):
        statuses = Counter(each.status for each in group)
        sys.stdout.write(f"    {key}: {dict(statuses)}\n")
    sys.stdout.write("".join(f"    | {line}\n" for line in life.output().splitlines()))
    sys.stdout.flush()


def _keep(client: Client, ways: Mapping[str, str]) -> None:
    """Write a row into the results, which are in the order of the clients."""
    old = json.loads(RESULTS.read_text())["clients"] if RESULTS.exists() else []
    row = {
        "name": client.name,
        "version": install.version(client),
        "ways": {way: ways[way] for way in WAYS if way in ways},
        "note": client.note,
        "run_on": datetime.now(UTC).date().isoformat(),
    }
    by_name = {each["name"]: each for each in (*old, row)}
    kept = [by_name[each.name] for each in CLIENTS if each.name in by_name]
    RESULTS.write_text(json.dumps({"clients": kept}, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
