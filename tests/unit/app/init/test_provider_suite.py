"""The provider cases that the AWS SDKs share: `init` defines what they can assume, and no more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assumed.app.init.command import find_problem
from assumed.app.init.generator import GeneratedConfig, generate_config
from assumed.aws_files.profiles import parse_aws_files
from assumed.config.schema import ProfileModel
from assumed.errors import CredentialsFileMalformedError
from tests.aws_suites import suite, suite_path

TESTS = "what a profile means, by the provider cases of the SDKs"
# The SDKs interpret a profile with both keys and a role_arn in their own ways: `init` says so.
AMBIGUOUS = {
    "self referential profile (first load base creds, then use for the role)",
    "chained assume role profiles with static credentials "
    "(ignore assume role when static credentials present)",
}
# The errors of these homes are in their files; those of the others are answers of servers.
FAULTY_HOMES = {
    "empty_config",
    "invalid_config",
    "invalid_sso_credentials_config",
    "sso_token",
    "web_identity_source_profile_no_env",
}


def generate(config: str, credentials: str = "") -> GeneratedConfig:
    # The accounts of the suite are too short.
    data = config.replace("123456789:", "123456789012:").replace("1234567890123:", "123456789012:")
    files = parse_aws_files(
        (Path("config"), data.encode()), (Path("credentials"), credentials.encode())
    )
    return generate_config(
        files,
        suffix="-fresh",
        supported=ProfileModel.model_fields.keys(),
        find_problem=find_problem,
        home=Path("/home/jane"),
    )


def config_text(sections: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        "\n".join([f"[{header}]", *(f"{key} = {value}" for key, value in section.items()), ""])
        for header, section in sections.items()
    )


def as_config(given: Mapping[str, Any]) -> str:
    profiles = {
        name if name == "default" else f"profile {name}": section
        for name, section in given["profiles"].items()
    }
    sessions = {
        f"sso-session {name}": section for name, section in given.get("sso_sessions", {}).items()
    }
    return config_text({**profiles, **sessions})


def test_init_defines_the_roles_that_every_sdk_can_assume_and_no_faulty_profile() -> None:
    cases = suite("smithy-rs/assume-role-tests.json", TESTS)
    assert len(cases) >= 28
    for case in cases:
        selected, chain = case["input"]["selected_profile"], case["output"].get("ProfileChain", [])

        result = generate(as_config(case["input"]))

        is_role = any({"AssumeRole", "WebIdentityToken"} & link.keys() for link in chain)
        is_defined = selected in result.profiles.values()
        if "Error" in case["output"]:
            assert not is_defined, case["docs"]
        elif is_role and case["docs"] not in AMBIGUOUS:
            assert is_defined, case["docs"]
        if case["docs"] in AMBIGUOUS:
            reasons = {each.profile: each.reason for each in result.skipped}
            assert "has both keys and a role_arn" in reasons[selected]


def test_init_reads_the_homes_of_the_provider_chain() -> None:
    homes = suite_path("smithy-rs/aws-config-test-data", TESTS)
    cases = sorted(homes.glob("*/*/test-case.json"))
    assert len(cases) >= 50
    for case in cases:
        is_valid = "Ok" in json.loads(case.read_text())["result"]
        home, environ = case.parent / "fs" / "home" / ".aws", case.parent / "env.json"
        profile = json.loads(environ.read_text()).get("AWS_PROFILE", "default")
        config, credentials = (
            path.read_text() if (path := home / name).exists() else ""
            for name in ("config", "credentials")
        )

        try:
            defined = generate(config, credentials).profiles.values()
        except CredentialsFileMalformedError:
            assert case.parent.name == "invalid_config"
            continue

        if case.parent.name in FAULTY_HOMES:
            assert not is_valid
            assert profile not in defined, case.parent.name
        elif "role_arn" in config and is_valid and "AWS_ACCESS_KEY_ID" not in environ.read_text():
            assert profile in defined, case.parent.name
