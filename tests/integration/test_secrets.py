"""No output of any kind has a secret of any kind."""

from __future__ import annotations

import json
import signal
import textwrap
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.metadata import SESSION_TOKEN, Metadata
from tests.integration.secret_search import leaks
from tests.integration.sso_portal import PROFILE, Portal
from tests.integration.test_web_identity import PROVIDER, write_token
from tests.integration.world import SOURCE, World, wait_until

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEYwJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY=="
AUTHORIZATION = "container-authorization"


@pytest.mark.parametrize(
    "text",
    [
        f"error: {SECRET}: no",
        textwrap.fill(SECRET, 20),
        json.dumps({"error": textwrap.fill(SECRET, 20)}),
        repr(json.dumps({"error": textwrap.fill(SECRET, 20)})),
        f"https://example.com/?token={quote(SECRET, safe='')}",
        f"https://example.com/?token={SECRET.replace('/', '%2f').replace('+', '%2b')}",
        SECRET.replace("/", "\\/"),
        *(b64encode(b"x" * before + SECRET.encode() + b"xyz").decode() for before in range(4)),
        urlsafe_b64encode(f"key={SECRET}\n".encode()).decode(),
        textwrap.fill(b64encode(SECRET.encode()).decode(), 76),
    ],
)
def test_the_search_finds_a_secret_in_each_form(text: str) -> None:
    found = leaks(text, ["another-secret-of-the-same-kind", SECRET])
    assert found
    assert all(SECRET not in each and each.endswith(" characters>") for each in found)


def test_the_search_finds_a_code_as_a_word_only() -> None:
    assert leaks("code 980071: rejected", ["980071"])
    assert not leaks("2026-11-24T12:00:00.1980071Z", ["980071"])
    assert not leaks(f"{SECRET[:-8]}", [SECRET])


class Everything:
    """A configuration with each kind of source, some of which fail."""

    def __init__(self, world: World, portal: Portal, metadata: Metadata) -> None:
        self.world = world
        self.own = world.add_role()
        self.files: list[Path] = []
        session = world.session(self.own, "jane")
        portal.credentials = {
            "accessKeyId": session["AccessKeyId"],
            "secretAccessKey": session["SecretAccessKey"],
            "sessionToken": session["SessionToken"],
            "expiration": round(datetime.fromisoformat(session["Expiration"]).timestamp() * 1000),
        }
        portal.log_in(world.home)
        again = world.session(self.own, "machine")
        metadata.credentials = {
            "AccessKeyId": again["AccessKeyId"],
            "SecretAccessKey": again["SecretAccessKey"],
            "Token": again["SessionToken"],
            "Expiration": again["Expiration"],
        }
        self.token = write_token(world, "eyJhbGciOiJub25lIn0.eyJqdGkiOiJhbGwtc291cmNlcyJ9.c2ln")
        identity_token = Path(self.token).read_text().strip()
        world.server.accept(identity_token)
        world.secrets |= {identity_token, SESSION_TOKEN, AUTHORIZATION, "client-secret"}
        self.files.append(Path(self.token))
        self.credential_processes()

    def secret_file(self, name: str, text: str) -> Path:
        path = self.world.home / name
        path.write_text(text)
        self.files.append(path)
        return path

    def credential_processes(self) -> None:
        """Create three: one that works, one that fails and prints everything, a wrapped one."""
        session = self.world.session(self.own, "process")
        answer = {"Version": 1, **session}
        works = self.secret_file("works.json", json.dumps(answer))
        wrapped = {**answer, "SessionToken": textwrap.fill(session["SessionToken"], 76)}
        broken = self.secret_file("broken.json", json.dumps(wrapped))
        script = self.secret_file(
            "fails.sh",
            f"echo 'SecretAccessKey: {session['SecretAccessKey']}' >&2\n"
            f"echo '{json.dumps(answer)}' >&2\ncat {works}; exit 3\n",
        )
        (self.world.home / ".aws" / "config").write_text(
            f"{PROFILE}"
            f"[profile works]\ncredential_process = cat {works}\n"
            f"[profile broken]\ncredential_process = cat {broken}\n"
            f"[profile fails]\ncredential_process = sh {script}\n"
        )

    def profiles(self) -> Mapping[str, Mapping[str, object]]:
        world = self.world
        mfa = world.add_role()
        codes = world.home / "code"
        typed = world.server.add_mfa("980071", role_arn=mfa)
        printed = world.server.add_mfa("571923", role_arn=mfa)
        self.secret_file("code", "571923\n")
        world.secrets.add("571923")
        trusting = world.add_role(trusts=self.own)
        shapes: dict[str, dict[str, object]] = {
            "keys": {"source_profile": SOURCE},
            "chained": {"source_profile": "mine"},
            "memory": {"source_profile": SOURCE, "store": "memory"},
            "sso": {"source_profile": "people"},
            "process": {"source_profile": "works"},
            "process-fails": {"source_profile": "fails"},
            "process-broken": {"source_profile": "broken"},
            "instance": {"credential_source": "Ec2InstanceMetadata"},
            "task": {"credential_source": "EcsContainer"},
        }
        own = {"mine": {"role_arn": self.own, "source_profile": SOURCE}}
        return {
            **own,
            **{name: {"role_arn": trusting, **shape} for name, shape in shapes.items()},
            "keys": {"role_arn": world.add_role(), **shapes["keys"]},
            "memory": {"role_arn": world.add_role(), **shapes["memory"]},
            "copied": {"source_profile": "works"},
            "pod": {
                "role_arn": world.add_role(trusts=PROVIDER),
                "web_identity_token_file": self.token,
            },
            "typed": {
                "role_arn": world.add_role(trusts=mfa),
                "source_profile": SOURCE,
                "mfa_serial": typed,
            },
            "printed": {
                "role_arn": world.add_role(trusts=mfa),
                "source_profile": SOURCE,
                "mfa_serial": printed,
                "mfa_process": f"cat {codes}",
            },
            "denied": {
                "role_arn": world.add_role(trusts="arn:aws:iam::123456789012:user/other"),
                "source_profile": SOURCE,
            },
            "garbage": {"role_arn": self.disturbed("garbage"), "source_profile": SOURCE},
            "throttled": {"role_arn": self.disturbed("throttle"), "source_profile": SOURCE},
        }

    def disturbed(self, fault: str) -> str:
        role = self.world.add_role()
        self.world.server.disturb(role, fault)
        return role


WORK = {
    "mine", "keys", "chained", "memory", "sso", "process", "copied", "instance", "task", "pod",
    "typed", "printed",
}  # fmt: skip
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["status", "--format", "{profile} {state}"],
    ["check"],
    ["check", "--json"],
    ["refresh", "--force", "--timeout", "2s"],
    ["refresh", "--force", "--json", "--timeout", "2s"],
    ["wait", "keys", "--timeout", "5s"],
    ["exec", "keys", "--", "true"],
    ["exec", "--timeout", "2s", "nowhere", "--", "true"],
    ["login", "sso"],
    ["export-credentials", "--profile", "denied"],
    ["export-credentials", "--profile", "process-broken"],
]


def valid(world: World) -> set[str]:
    return {name for name, state in world.states().items() if state == "valid"}


def arguments_of_all_processes() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_no_secret_of_any_source_is_in_any_output(world: World) -> None:
    with Portal().serving() as portal, Metadata().serving() as metadata:
        everything = Everything(world, portal, metadata)
        authorization = everything.secret_file("authorization", AUTHORIZATION)
        hooks = world.home / "hooks"
        hooks.mkdir()
        dump = f"{{ env; tr '\\0' ' ' </proc/$$/cmdline; cat; }} >{hooks}/$$; env"
        hook = ["sh", "-c", dump]
        events = ["on_refresh", "on_failure", "on_recovered", "on_needs_login"]
        textfile = world.home / "metrics.prom"
        configuration = {
            "profiles": everything.profiles(),
            "hooks": dict.fromkeys(events, hook),
            "metrics": {"textfile": str(textfile)},
        }
        world.write_config(json.dumps(configuration))
        environ = {
            "AWS_ENDPOINT_URL_SSO": portal.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": portal.url,
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{metadata.url}/v2/credentials/task",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(authorization),
        }
        world.environ |= environ
        with world.running("--log-format", "text") as daemon:
            world.run("login", "typed", typed="364901\n")
            world.run("login", "typed", typed="980071\n")
            wait_until(lambda: valid(world) >= WORK, "every source that works")
            for command in COMMANDS:
                world.run(*command)
            world.outputs.append(arguments_of_all_processes())
            wait_until(lambda: any(hooks.iterdir()) and textfile.exists(), "hooks and metrics")
            world.collect_secrets()
            # The next start reads what a crash has left.
            daemon.signal(signal.SIGABRT)
            daemon.process.wait()
        with world.running("--log-format", "json"):
            world.run("refresh", "--force", "--timeout", "2s")
        for command in [*COMMANDS, ["check", "--live", "--timeout", "2s"], ["logout"]]:
            world.run(*command)
    kept = {*everything.files, world.credentials, world.config}
    for path in world.home.rglob("*"):
        is_private = path.parent.name in {"cache", "mfa"} or path.suffix == ".token"
        if path.is_file() and path not in kept and not is_private:
            name = path.relative_to(world.home)
            world.outputs.append(f"{name}:\n{path.read_bytes().decode(errors='replace')}")
    assert len(list(hooks.iterdir())) > len(WORK)
    assert not list(world.home.rglob("core*"))
    # With the user's keys: the SSO login, the tokens of IMDS, ECS, OIDC and of the endpoint, codes.
    assert len(world.secrets) > 10
