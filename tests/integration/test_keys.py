"""The effect of each key of a definition on the requests to STS."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from assumed.config.definitions import default_session_name
from assumed.config.schema import ProfileModel
from tests.integration.test_daemon import session_arn
from tests.integration.test_web_identity import PROVIDER, write_token
from tests.integration.world import SOURCE, World, wait_until

STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = {"Version": "2012-10-17", "Statement": [STATEMENT]}
PACKED_POLICY = json.dumps(POLICY, separators=(",", ":"))
READ_ONLY_ARN = "arn:aws:iam::aws:policy/ReadOnlyAccess"
TAGS = {
    "Tags.member.1.Key": "team",
    "Tags.member.1.Value": "build @ run:1",
    "Tags.member.2.Key": "stage",
    "Tags.member.2.Value": "prod",
}

# The value of a key, and the parameters that STS receives for it.
SENT: Mapping[str, list[tuple[object, dict[str, str]]]] = {
    "role_session_name": [("jane@work", {"RoleSessionName": "jane@work"})],
    "duration_seconds": [
        (900, {"DurationSeconds": "900"}),
        ("45m", {"DurationSeconds": "2700"}),
    ],
    "external_id": [("a:b/c=1", {"ExternalId": "a:b/c=1"})],
    "policy": [
        (POLICY, {"Policy": PACKED_POLICY}),
        (json.dumps(POLICY, indent=2), {"Policy": PACKED_POLICY}),
    ],
    "policy_arns": [
        (
            [READ_ONLY_ARN, "arn:aws:iam::123456789012:policy/more"],
            {
                "PolicyArns.member.1.arn": READ_ONLY_ARN,
                "PolicyArns.member.2.arn": "arn:aws:iam::123456789012:policy/more",
            },
        )
    ],
    "tags": [({"team": "build @ run:1", "stage": "prod"}, TAGS)],
    "transitive_tag_keys": [
        (
            ["team", "stage"],
            {"TransitiveTagKeys.member.1": "team", "TransitiveTagKeys.member.2": "stage"},
        )
    ],
    "source_identity": [("jane", {"SourceIdentity": "jane"})],
    "region": [("eu-west-1", {"signed for": "eu-west-1"})],
}


def write(world: World, place: str, role: str, **keys: object) -> None:
    """Write a configuration of one profile, with `keys` in it or under `defaults`."""
    profile: dict[str, object] = {"role_arn": role}
    if not {"source_profile", "credential_source", "web_identity_token_file"} & keys.keys():
        profile["source_profile"] = SOURCE
    if place == "defaults":
        own = {key: profile[key] for key in profile if key not in keys}
        world.write_config(json.dumps({"defaults": keys, "profiles": {"reports": own}}))
    else:
        world.configure({"reports": profile | keys})


def usual(world: World, role: str) -> dict[str, str]:
    """Return the parameters that STS receives for a minimal definition."""
    return {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": default_session_name(getpass.getuser(), socket.gethostname()),
        "DurationSeconds": "3600",
        "signed by": access_key_id(world, SOURCE),
        "signed for": "us-east-1",
    }


def access_key_id(world: World, profile: str) -> str:
    section = world.credentials.read_text().partition(f"[{profile}]\n")[2]
    return section.partition("aws_access_key_id = ")[2].partition("\n")[0]


def refreshed(world: World, **environ: str) -> None:
    done = world.run("refresh", **environ)
    assert done.returncode == 0, done.stderr


def check_role_arn(world: World, place: str) -> None:
    role = world.add_role()
    write(world, place, role, role_arn=role)
    refreshed(world)
    assert world.server.requests(role) == [usual(world, role)]


def check_source_profile(world: World, place: str) -> None:
    _, key, secret = world.server.add_user({**STATEMENT, "Action": "sts:AssumeRole"})
    with world.credentials.open("a") as file:
        file.write(f"[other]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    role = world.add_role(trusts="*")
    write(world, place, role, source_profile="other")
    refreshed(world)
    assert world.server.requests(role) == [usual(world, role) | {"signed by": key}]


def check_credential_source(world: World, place: str) -> None:
    _, key, secret = world.server.add_user({**STATEMENT, "Action": "sts:AssumeRole"})
    role = world.add_role(trusts="*")
    write(world, place, role, credential_source="Environment")
    refreshed(world, AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)
    assert world.server.requests(role) == [usual(world, role) | {"signed by": key}]


def check_web_identity_token_file(world: World, place: str) -> None:
    token = f"eyJhbGciOiJub25lIn0.{place}.c2ln"
    role = world.add_role(trusts=PROVIDER)
    world.server.accept(token)
    write(world, place, role, web_identity_token_file=write_token(world, token))
    refreshed(world)
    unsigned = {
        key: value for key, value in usual(world, role).items() if not key.startswith("signed")
    }
    by_token = {"Action": "AssumeRoleWithWebIdentity", "WebIdentityToken": token}
    assert world.server.requests(role) == [unsigned | by_token]
    assert token not in world.written()


def check_mfa(world: World, place: str) -> None:
    mfa = world.add_role()
    role = world.add_role(trusts=mfa)
    serial = world.server.add_mfa("111111", "222222", role_arn=mfa)
    process = ["sh", "-c", "echo 111111"]
    write(world, place, role, mfa_serial=serial, mfa_session="20h", mfa_process=process)
    refreshed(world)
    assert world.server.session_tokens(serial) == [
        {
            "Action": "GetSessionToken",
            "Version": "2011-06-15",
            "SerialNumber": serial,
            "TokenCode": "111111",
            "DurationSeconds": str(20 * 3600),
        }
    ]
    (sent,) = world.server.requests(role)
    assert sent == usual(world, role) | {"signed by": sent["signed by"]}
    assert sent["signed by"].startswith("ASIA")


def check_fallback_regions(world: World, place: str) -> None:
    role = world.add_role()
    write(world, place, role, fallback_regions=["eu-central-1", "eu-west-1"])
    world.server.disturb(role, "break")
    assert world.run("refresh", "--timeout", "2s").returncode == 1
    expected = [
        usual(world, role) | {"signed for": region}
        for region in ("us-east-1", "eu-central-1", "eu-west-1")
    ]
    # It goes on, region after region, for as long as the command may.
    assert world.server.requests(role)[:3] == expected
    world.server.disturb(role, "")
    refreshed(world)
    assert world.server.requests(role)[-1] == usual(world, role)


def check_config_profile(world: World, place: str) -> None:
    role = world.add_role()
    aws_config = world.home / ".aws" / "config"
    config = aws_config.read_text() if aws_config.exists() else ""
    aws_config.write_text(f"{config}\n[profile settings]\nregion = eu-west-2\n")
    write(world, place, role, config_profile="settings")
    refreshed(world)
    shown = json.loads(world.run("status", "--json").stdout)
    assert shown["profiles"][0]["config_profiles"][0] == "settings"


def check_refresh_before(world: World, place: str) -> None:
    role = world.add_role()
    write(world, place, role, refresh_before="50%")
    with world.running():
        found = world.status()["profiles"][0]["next_attempt_at"]
    # Half of an hour, and up to a tenth of it earlier.
    due_in = datetime.fromisoformat(found) - datetime.now(UTC)
    assert timedelta(minutes=23) < due_in <= timedelta(minutes=30)
    assert world.server.requests(role) == [usual(world, role)]


def check_store(world: World, place: str) -> None:
    role = world.add_role()
    write(world, place, role, store="memory")
    before = world.credentials.read_bytes()
    with world.running():
        assert world.states() == {"reports": "valid"}
        assert world.credentials.read_bytes() == before
    assert world.server.requests(role) == [usual(world, role)]


def check_overwrite(world: World, place: str) -> None:
    role = world.add_role()
    keys = "[reports]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n"
    with world.credentials.open("a") as file:
        file.write(keys)
    write(world, place, role)
    assert world.run("refresh").returncode == 1
    assert world.credentials.read_text().endswith(keys)
    write(world, place, role, overwrite=True)
    refreshed(world)
    assert access_key_id(world, "reports").startswith("ASIA")
    sent = world.server.requests(role)
    assert sent == [usual(world, role)] * len(sent)


def check_credential_process(world: World, place: str) -> None:
    role = world.add_role()
    write(world, place, role, credential_process=True)
    with world.running():
        wait_until(lambda: "reports-live" in world.credentials.read_text(), "the profile")
        assert world.caller("reports-live").startswith(session_arn(role))
    write(world, place, role, credential_process=False)
    with world.running():
        wait_until(lambda: "reports-live" not in world.credentials.read_text(), "its removal")


def check_enabled(world: World, place: str) -> None:
    role = world.add_role()
    before = world.credentials.read_bytes()
    write(world, place, role, enabled=False)
    refreshed(world)
    assert world.states() == {"reports": "disabled"}
    assert world.credentials.read_bytes() == before
    assert world.server.requests(role) == []


CHECKS: Mapping[tuple[str, ...], Callable[[World, str], None]] = {
    ("role_arn",): check_role_arn,
    ("source_profile",): check_source_profile,
    ("credential_source",): check_credential_source,
    ("web_identity_token_file",): check_web_identity_token_file,
    ("mfa_serial", "mfa_session", "mfa_process"): check_mfa,
    ("fallback_regions",): check_fallback_regions,
    ("config_profile",): check_config_profile,
    ("refresh_before",): check_refresh_before,
    ("store",): check_store,
    ("overwrite",): check_overwrite,
    ("credential_process",): check_credential_process,
    ("enabled",): check_enabled,
}


@pytest.mark.parametrize("place", ["profile", "defaults"])
@pytest.mark.parametrize("keys", CHECKS, ids="-".join)
def test_a_key_has_its_effect_in_a_profile_and_under_defaults(
    world: World, keys: tuple[str, ...], place: str
) -> None:
    CHECKS[keys](world, place)


def test_sts_receives_exactly_the_parameters_of_a_profile(world: World) -> None:
    expected = {}
    profiles: dict[str, dict[str, object]] = {}
    for key, cases in SENT.items():
        for value, parameters in cases:
            role = world.add_role()
            profiles[f"{key}-{len(profiles)}"] = {
                "role_arn": role, "source_profile": SOURCE, key: value
            }  # fmt: skip
            expected[role] = [usual(world, role) | parameters]
    world.configure(profiles)
    refreshed(world)
    assert {role: world.server.requests(role) for role in expected} == expected


def test_sts_receives_exactly_the_parameters_under_defaults(world: World) -> None:
    role = world.add_role()
    expected = usual(world, role)
    for (_, parameters), *_ in SENT.values():
        expected |= parameters
    write(world, "defaults", role, **{key: cases[0][0] for key, cases in SENT.items()})
    refreshed(world)
    assert world.server.requests(role) == [expected]


def test_every_key_has_a_test() -> None:
    tested = [*SENT, *(key for keys in CHECKS for key in keys)]
    assert sorted(tested) == sorted(ProfileModel.model_fields)
