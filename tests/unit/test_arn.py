from __future__ import annotations

import ast
from pathlib import Path

import pytest
from botocore.endpoint_provider import RuleSetStandardLibrary
from botocore.loaders import create_loader
from botocore.session import Session

from assumed import arn
from assumed.arn import Arn, account_of, default_region, is_arn, partition_of, partition_of_region
from tests.repository import modules

ROLE = "arn:aws:iam::111122223333:role/team/deploy"
SESSION = "arn:aws:sts::111122223333:assumed-role/deploy/assumed-me@here"
PARTITIONS = create_loader().load_data("partitions")
BOTOCORE_SESSION = Session()


def test_parse_returns_the_parts_and_str_puts_them_together() -> None:
    found = Arn.parse("arn:aws-cn:logs:cn-north-1:111122223333:log-group:a:b")
    assert found == Arn("aws-cn", "logs", "cn-north-1", "111122223333", "log-group:a:b")
    for text in (ROLE, SESSION, str(found), "arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:::::"):
        assert str(Arn.parse(text)) == text
        assert is_arn(text)


@pytest.mark.parametrize(
    "text",
    ["", "arn", "arn:aws:iam::111122223333", "GAHT12345678", "urn:aws:iam::1:role/r", " arn"],
)
def test_parse_rejects_other_texts_and_does_not_quote_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an ARN$"):
        Arn.parse(text)
    assert not is_arn(text)


def test_session_is_named_after_the_role_without_its_path() -> None:
    assert str(Arn.parse(ROLE).session("assumed-me@here")) == SESSION
    chinese = Arn.parse(ROLE.replace("aws", "aws-cn"))
    assert chinese.session("x").partition == "aws-cn"


def test_role_of_a_session_is_the_role_without_its_path() -> None:
    assert str(Arn.parse(SESSION).role) == "arn:aws:iam::111122223333:role/deploy"


@pytest.mark.parametrize(
    "text",
    [
        ROLE,
        "arn:aws:iam::111122223333:user/jane",
        "arn:aws:sts::111122223333:federated-user/jane",
        "arn:aws:iam::111122223333:assumed-role/a/b",
    ],
)
def test_what_is_no_session_of_a_role_has_no_role(text: str) -> None:
    assert Arn.parse(text).role is None


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        (ROLE.replace("aws", "aws-us-gov"), "aws-us-gov"),
        ("GAHT12345678", "aws"),
        ("a:b", "aws"),
        ("", "aws"),
        (None, "aws"),
    ],
)
def test_partition_of_an_arn_or_of_a_serial_number(text: str | None, partition: str) -> None:
    assert partition_of(text) == partition


@pytest.mark.parametrize(
    ("text", "account"),
    [
        (SESSION, "111122223333"),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", "aws"),
        ("arn:aws:s3:::bucket", None),
        ("GAHT12345678", None),
        ("", None),
    ],
)
def test_account_of_an_arn_or_of_a_serial_number(text: str, account: str | None) -> None:
    assert account_of(text) == account


REGIONS = [name for partition in PARTITIONS["partitions"] for name in partition["regions"]]


@pytest.mark.parametrize("region", [*REGIONS, "eu-west-99", "us-gov-east-7", "xx-nowhere-1", ""])
def test_partition_of_a_region_is_that_of_botocores_endpoint_rules(region: str) -> None:
    expected = RuleSetStandardLibrary(PARTITIONS).aws_partition(region)["name"]
    assert partition_of_region(region) == expected


@pytest.mark.parametrize(
    ("partition", "region"),
    {
        "aws": "us-east-1",
        "aws-cn": "cn-north-1",
        "aws-us-gov": "us-gov-west-1",
        "aws-iso": "us-iso-east-1",
        "aws-iso-b": "us-isob-east-1",
        "aws-iso-e": "eu-isoe-west-1",
        "aws-iso-f": "us-isof-south-1",
        "aws-eusc": "eusc-de-east-1",
        "aws-of-next-year": "us-east-1",
    }.items(),
)
def test_default_region_has_an_sts_of_its_partition(partition: str, region: str) -> None:
    assert default_region(partition) == region
    if partition in BOTOCORE_SESSION.get_available_partitions():
        assert partition_of_region(region) == partition
        assert region in BOTOCORE_SESSION.get_available_regions("sts", partition)


def test_importing_the_module_does_not_import_botocore() -> None:
    tree = ast.parse(Path(arn.__file__).read_text())
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imported
    assert not any("botocore" in ast.unparse(node) for node in imported)


def test_no_other_module_splits_an_arn() -> None:
    def splits(tree: ast.AST) -> list[str]:
        found = [
            (ast.unparse(node.func.value), node.lineno)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"split", "rsplit", "partition", "rpartition"}
            and [ast.unparse(argument) for argument in node.args[:1]] == ["':'"]
        ]
        return [f"{text}:{line}" for text, line in found if "arn" in text.lower()]

    assert splits(ast.parse('role_arn.split(":", 5)\nself.arn.partition(":")')) != []
    # Importing `arn` would cost the fast path more than everything else it does.
    for file in modules().keys() - {"fastpath/credentials_reader.py"}:
        assert splits(modules()[file]) == [], file
