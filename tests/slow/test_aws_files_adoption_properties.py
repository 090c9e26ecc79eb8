"""Properties of what tests/unit/aws_files/test_adoption.py tests by example."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from assumed.aws_files.adoption import AwsFileKind
from assumed.aws_files.ownership import ADOPTED_MARK
from assumed.aws_files.profiles import parse_aws_files
from assumed.aws_files.shadowing import choices_before_keys
from assumed.errors import (
    CredentialsFileError,
)
from tests.unit.aws_files.test_adoption import CONFIG, CREDENTIALS, adopt, release

_keys = st.sampled_from(
    ("role_arn", "source_profile", "mfa_serial", "sso_region", "credential_process", "region",
     "output", "s3", "Role_Arn", "duration_seconds", "external_id", "clé", "services")
)  # fmt: skip


_lines = st.one_of(
    st.builds(
        lambda indent, key, delimiter, value: f"{indent}{key}{delimiter}{value}",
        st.sampled_from(("", "", "", " ", "  ", "\t")),
        _keys,
        st.sampled_from((" = ", "=", ": ", " =")),
        st.sampled_from(("x", "arn:aws:iam::1:role/r", "", "a = b", "é個", "[x]", "y # z", "  y")),
    ),
    st.sampled_from(
        ("", "  ", "# role_arn = x", "  ; c", ADOPTED_MARK, f"{ADOPTED_MARK}role_arn = x",
         f" {ADOPTED_MARK}", f"{ADOPTED_MARK}{ADOPTED_MARK}region = x", "[profile dev]",
         "[profile other]", "[default]", "[dev]", '[profile "dev"]', "[services a]", "  [x]")
    ),
)  # fmt: skip


@given(st.lists(_lines, max_size=14), st.sampled_from(("\n", "\r\n")), st.booleans())
def test_whatever_adopt_accepts_release_gives_back(
    lines: list[str], end: str, is_ended: bool
) -> None:
    data = (end.join(["[profile dev]", *lines]) + (end if is_ended else "")).encode()
    for kind in AwsFileKind:
        try:
            adopted = adopt(data, kind)
        except CredentialsFileError:
            continue
        if adopted == data:
            continue
        assert release(adopted, kind) == data
        assert adopt(adopted, kind) == adopted
        files = parse_aws_files(
            (Path("config"), adopted if kind is CONFIG else b""),
            (Path("credentials"), adopted if kind is CREDENTIALS else b""),
        )
        assert choices_before_keys(files.profiles["dev"], files.credentials) == {}
