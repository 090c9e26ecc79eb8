from __future__ import annotations

from typing import Any

import pytest

from assumed.demo.trust_policy import WEB_IDENTITY, Caller, Trust, evaluate_trust

ROLE = "arn:aws:iam::111122223333:role/deploy"
JANE = Caller("arn:aws:iam::111122223333:user/jane")
STRANGER = Caller("arn:aws:iam::444455556666:user/jane")
HUB = "arn:aws:iam::111122223333:role/hub"
SESSION = Caller("arn:aws:sts::111122223333:assumed-role/hub/me", role_arn=HUB)


def statement(principal: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}


def evaluate(*statements: Any, caller: Caller = JANE, external_id: str | None = None) -> Trust:
    context = {} if external_id is None else {"sts:ExternalId": external_id}
    return evaluate_trust({"Statement": list(statements)}, caller, role_arn=ROLE, context=context)


@pytest.mark.parametrize(
    ("principal", "caller", "expected"),
    [
        ({"AWS": JANE.arn}, JANE, Trust.NAMED),
        ({"AWS": [HUB, "x"]}, SESSION, Trust.NAMED),
        ({"AWS": "111122223333"}, JANE, Trust.DELEGATED),
        ({"AWS": "arn:aws:iam::111122223333:root"}, JANE, Trust.DELEGATED),
        ("*", STRANGER, Trust.DELEGATED),
        ({"AWS": STRANGER.arn}, STRANGER, Trust.DELEGATED),
        ({"AWS": f"{JANE.arn}t"}, JANE, Trust.DENIED),
        ({"AWS": "444455556666"}, JANE, Trust.DENIED),
        ({"Federated": "accounts.example.com"}, WEB_IDENTITY, Trust.NAMED),
        ({"AWS": JANE.arn}, WEB_IDENTITY, Trust.DENIED),
    ],
)
def test_evaluate_trust_compares_the_principal(
    principal: Any, caller: Caller, expected: Trust
) -> None:
    assert evaluate(statement(principal), caller=caller) is expected


def test_evaluate_trust_lets_a_denial_override() -> None:
    allowed = statement({"AWS": JANE.arn})
    assert evaluate(allowed, statement("*", Effect="Deny")) is Trust.DENIED
    assert evaluate(statement({"AWS": JANE.arn}, Action="sts:TagSession")) is Trust.DENIED


def test_evaluate_trust_requires_the_external_id() -> None:
    condition = {"StringEquals": {"sts:ExternalId": ["abc", "def"]}}
    allowed = statement({"AWS": JANE.arn}, Condition=condition)
    assert evaluate(allowed, external_id="def") is Trust.NAMED
    assert evaluate(allowed, external_id="other") is Trust.DENIED
    assert evaluate(allowed) is Trust.DENIED


def test_evaluate_trust_supports_no_other_condition() -> None:
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    with pytest.raises(NotImplementedError, match="IpAddress"):
        evaluate(statement({"AWS": JANE.arn}, Condition=condition))
