"""Adoption: which keys are commented out, what each SDK reads then, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from assumed.aws_files.adoption import AwsFileKind, comment_out_keys, is_adopted, restore_keys
from assumed.aws_files.editor import RemoveCredentials, SetCredentials, edit
from assumed.aws_files.ini import IniDocument
from assumed.aws_files.ownership import ADOPTED_MARK
from assumed.aws_files.profiles import parse_aws_files
from assumed.aws_files.sdk_dialects import read_like_shared_sdks
from assumed.aws_files.sdk_precedence import precedes_stored_keys
from assumed.aws_files.shadowing import choices_before_keys
from assumed.errors import (
    CredentialsFileMalformedError,
    ProfileAmbiguousError,
)
from tests.credentials_files import credentials
from tests.repository import TESTS

CONFIG, CREDENTIALS = AwsFileKind.CONFIG, AwsFileKind.CREDENTIALS
ROLE = "role_arn = arn:aws:iam::222222222222:role/deploy\nsource_profile = base\n"

# AWS config files as people have them; `dev` is the profile to adopt.
HOMES = {
    "mfa": f"[profile dev]\n{ROLE}mfa_serial = arn:aws:iam::111111111111:mfa/kim\n"
    "duration_seconds = 43200\nregion = eu-west-1\n",
    "credential source": "[profile other]\nregion = x\n[profile dev]\n"
    "role_arn=arn:aws:iam::222222222222:role/Next\ncredential_source=EcsContainer\n"
    "duration_seconds=14400\n[sso-session corp]\nsso_region = eu-west-1\n",
    "settings": f"[default]\nregion = us-west-2\n[profile dev]\n{ROLE}region = eu-central-1\n"
    "output = text\ncli_timestamp_format = iso8601\nretry_mode = adaptive\nmax_attempts = 10\n",
    "endpoints": f"[profile dev]\n{ROLE}region = us-east-1\nuse_fips_endpoint = true\n"
    "use_dualstack_endpoint = true\nendpoint_url = https://sts.example.com\nservices = corp\n"
    "ca_bundle = /etc/ssl/corp.pem\n[services corp]\nsts =\n  endpoint_url = https://vpce.example\n",
    "aws-vault": f"[profile dev]\n{ROLE}session_tags = team=payments,env=prod\n"
    "transitive_session_tags = team\nsource_identity = kim\nmfa_process = ykman oath code\n",
    "nested": f"[profile dev]\ns3 =\n    max_queue_size = 10\n    addressing_style = path\n{ROLE}"
    "s3api =\n\tuse_accelerate_endpoint = true\n",
    "web identity": "[profile dev]\nrole_arn = arn:aws:iam::888888888888:role/ci\n"
    "web_identity_token_file = ./token\nrole_session_name = ci\nregion = eu-west-1\n",
    "everything": f"[profile dev]\n{ROLE}external_id = 7f3a/acme:2019@prod=1\n"
    "role_session_name = kim\nsso_session = corp\nsso_account_id = 111111111111\n"
    "sso_role_name = Dev\nsso_start_url = https://acme.awsapps.com/start\nlogin_session = x\n"
    'credential_process = vault --json "a b"\nregion = eu-west-1\n',
    "comments": f"# since 2015\n[profile dev] ; mine\n# role_arn = old\n; old\n\n{ROLE}"
    "#source_profile = older\n   # region = x\n\n[profile dev2]\nregion = a\n",
    "lookalikes": f"[profile dev]\n{ADOPTED_MARK}role_arn = x\n{ROLE}{ADOPTED_MARK}{ADOPTED_MARK}\n"
    f"[profile b]\n{ADOPTED_MARK}region = b\n",
    "windows": f"[profile dev]\n{ROLE}region = eu-west-1\n\n[default]\nregion = a\n".replace(
        "\n", "\r\n"
    ),
    "no final line end": f"[profile dev]\nregion = eu-west-1\n{ROLE}".rstrip("\n"),
    "indented": "[profile dev]\n   role_arn = x\n   source_profile = y\n  region = z\n a = j\n",
    "colons": "[profile dev]\nRole_ARN: x\nSOURCE_PROFILE : y\nregion: z\n",
    "unicode": f"# größe 個\n[profile dev]\n{ROLE}note = größe 個 \x85\nregion = a\n[profile é]\n",
    "quoted": f'[profile "dev"]\n{ROLE}region = a\n',
    "continued": "[profile dev]\ncredential_process = vault\n    --json\n\n    # why\n    --all\n"
    "role_arn = x\nregion = a\n",
    "last of many": "".join(f"[profile p{n}]\n{ROLE}\n" for n in range(40))
    + f"[profile dev]\n{ROLE}",
}


def adopt(data: bytes, kind: AwsFileKind = CONFIG) -> bytes:
    return comment_out_keys(data, "dev", kind, path="config")


def release(data: bytes, kind: AwsFileKind = CONFIG) -> bytes:
    return restore_keys(data, "dev", kind, path="config")


@pytest.mark.parametrize("text", HOMES.values(), ids=HOMES)
def test_adopt_comments_out_what_precedes_stored_keys_and_release_gives_every_byte_back(
    text: str,
) -> None:
    data = text.encode()
    adopted = adopt(data)
    for before, after in zip(data.split(b"\n"), adopted.split(b"\n"), strict=True):
        assert after in {before, ADOPTED_MARK.encode() + before}
    ((name, before_keys),) = [
        (name, section)
        for name, section in IniDocument(data, "").values().items()
        if name in {"profile dev", 'profile "dev"'}
    ]
    after_keys = IniDocument(adopted, "").values()
    kept = {key: value for key, value in before_keys.items() if not precedes_stored_keys(key)}
    assert after_keys[name] == kept
    assert {**after_keys, name: before_keys} == IniDocument(data, "").values()
    files = parse_aws_files((Path("config"), adopted), (Path("credentials"), b""))
    assert choices_before_keys(files.profiles["dev"], files.credentials) == {}
    assert is_adopted(adopted, "dev", CONFIG, path="")
    assert adopt(adopted) == adopted
    assert release(adopted) == data


def test_adopt_leaves_settings_alone() -> None:
    adopted = adopt(HOMES["settings"].encode()).decode()
    assert adopted == (
        "[default]\nregion = us-west-2\n[profile dev]\n"
        "# adopted by assumed: role_arn = arn:aws:iam::222222222222:role/deploy\n"
        "# adopted by assumed: source_profile = base\nregion = eu-central-1\n"
        "output = text\ncli_timestamp_format = iso8601\nretry_mode = adaptive\nmax_attempts = 10\n"
    )


def test_adopt_edits_a_profile_of_the_credentials_file_by_its_bare_name() -> None:
    data = f"[profile dev]\n{ROLE}[dev]\n{ROLE}region = a\n".encode()
    adopted = adopt(data, CREDENTIALS)
    assert adopted.startswith(f"[profile dev]\n{ROLE}[dev]\n{ADOPTED_MARK}role_arn".encode())
    assert release(adopted, CREDENTIALS) == data
    assert release(adopted, CONFIG) == adopted


def test_refreshed_keys_can_come_and_go_between_adopt_and_release() -> None:
    data = f"[base]\naws_access_key_id = a\n[dev]\n{ROLE}[other]\n{ROLE}".encode()
    change = SetCredentials(credentials())
    refreshed = edit(data, {"dev": change}, path="").data
    adopted = adopt(refreshed, CREDENTIALS)
    logged_out = edit(adopted, {"dev": RemoveCredentials()}, path="").data
    assert release(logged_out, CREDENTIALS) == data
    again = edit(logged_out, {"dev": change}, path="").data
    released = release(again, CREDENTIALS)
    assert edit(released, {"dev": RemoveCredentials()}, path="").data == data


def test_release_keeps_what_was_written_meanwhile() -> None:
    adopted = adopt(HOMES["settings"].encode()).replace(b"output = text", b"output = json")
    assert release(adopted + b"[profile new]\nregion = b\n").decode() == (
        HOMES["settings"].replace("output = text", "output = json") + "[profile new]\nregion = b\n"
    )


def test_release_rejects_keys_that_the_profile_has_again() -> None:
    adopted = adopt(HOMES["settings"].encode())
    again = adopted.replace(b"output = text", b"role_arn = new")
    with pytest.raises(ProfileAmbiguousError, match="config:7: duplicate key role_arn") as caught:
        release(again)
    assert "# adopted by assumed:" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"[profile dev]\nregion = a\n  role_arn = x\n{ROLE.replace('role_arn', 'sso_x')}", 3),
        (f"[profile dev]\n{ROLE}  region = continued\n", 4),
        ("[profile dev]\nrole_arn =\n  region = x\n", 3),
        (f"[profile dev]\n{ROLE}[profile 'dev']\n", 4),
        (f"[default]\nregion = a\n[profile default]\n{ROLE}", 3),
        (f"[DEFAULT]\nsso_account_id = 1\n[profile dev]\n{ROLE}", 2),
        (f"[profile dev]\n{ROLE}  [profile other]\n  region = a\n", 5),
    ],
    ids=[
        "a role for other SDKs alone",
        "a setting for other SDKs alone",
        "a nested setting",
        "two headers",
        "two defaults",
        "inherited",
        "a header inside a value",
    ],
)
def test_adopt_rejects_what_the_sdks_read_differently(text: str, line: int) -> None:
    profile = "default" if "default" in text else "dev"
    with pytest.raises(ProfileAmbiguousError) as caught:
        comment_out_keys(text.encode(), profile, CONFIG, path="config")
    assert caught.value.message.startswith(f"config:{line}: profile {profile}")


def test_adopt_of_a_missing_profile_changes_nothing() -> None:
    data = f"[dev]\n{ROLE}[profile x y dev]\n{ROLE}[DEFAULT]\n".encode()
    assert adopt(data) == data
    assert release(data) == data
    assert not is_adopted(data, "dev", CONFIG, path="")


# Properties


CORPUS = sorted((TESTS / "corpus").glob("*.ini"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_adopt_and_release_of_every_profile_of_the_corpus(path: Path) -> None:
    data = path.read_bytes()
    for kind in AwsFileKind:
        for name in parse_aws_files((path, data), (path, data)).profiles:
            try:
                adopted = comment_out_keys(data, name, kind, path="x")
            except ProfileAmbiguousError:
                continue
            if adopted != data:
                assert restore_keys(adopted, name, kind, path="x") == data


def test_a_malformed_file_is_rejected() -> None:
    with pytest.raises(CredentialsFileMalformedError, match="x:1: "):
        comment_out_keys(b"role_arn\n", "dev", CONFIG, path="x")


@pytest.mark.parametrize("above", ["", "region = x\n"])
def test_adopt_includes_indented_comments_that_would_continue_the_key_above(above: str) -> None:
    # For the SDKs for Rust, Java, Kotlin and C, an indented comment is part of a value.
    text = f"[profile dev]\n{above}{ROLE}  # two\n\n\t; three\noutput = json\n"

    adopted = adopt(text.encode()).decode()
    reading = read_like_shared_sdks(adopted.split("\n"), None)

    assert not reading.rejected
    values = {key: value for key, (value, _) in reading.sections["profile dev"].items()}
    assert values == {**({"region": "x"} if above else {}), "output": "json"}
    assert release(adopted.encode()) == text.encode()
