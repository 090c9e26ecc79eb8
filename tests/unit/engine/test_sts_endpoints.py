"""What the calls to one STS endpoint share, and who decides which endpoint that is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from assumed.engine.refresher import Refresher
from assumed.engine.sts_endpoints import StsEndpoint, StsEndpoints
from assumed.models import (
    MfaSession,
    ProfileDefinition,
    SourceProfile,
    TemporaryCredentials,
    WebIdentity,
)
from tests.fakes import (
    NOON,
    FakeClock,
    FakeSource,
    FakeSources,
    FakeSts,
    ProfilesInMemory,
    role,
)

HERE = StsEndpoint("https://sts.us-east-1.amazonaws.com", "111122223333")
THERE = StsEndpoint("https://sts.us-east-1.amazonaws.com", "999988887777")


class TestReserve:
    def test_a_throttled_endpoint_has_its_profiles_wait_and_no_other_ones(self) -> None:
        endpoints = StsEndpoints()
        assert endpoints.reserve(HERE, "a", 10.0) == 10.0
        endpoints.throttled(HERE, 10.0)
        assert endpoints.reserve(HERE, "a", 10.0) > 10.0
        assert endpoints.reserve(THERE, "b", 10.0) == 10.0

    def test_a_profile_that_has_waited_for_its_turn_may_call(self) -> None:
        endpoints = StsEndpoints()
        endpoints.throttled(HERE, 10.0)
        first, second = endpoints.reserve(HERE, "a", 10.0), endpoints.reserve(HERE, "b", 10.0)
        assert first < second
        assert endpoints.reserve(HERE, "a", first) == first
        assert endpoints.reserve(HERE, "a", first) > second, "a reservation is good for one call"

    def test_a_reservation_is_void_once_the_endpoint_throttles_again(self) -> None:
        endpoints = StsEndpoints()
        endpoints.throttled(HERE, 10.0)
        at = endpoints.reserve(HERE, "a", 10.0)
        endpoints.throttled(HERE, at)
        assert endpoints.reserve(HERE, "a", at) > at

    def test_a_reservation_is_void_at_another_endpoint(self) -> None:
        endpoints = StsEndpoints()
        for endpoint in (HERE, THERE):
            endpoints.throttled(endpoint, 10.0)
        at = endpoints.reserve(HERE, "a", 10.0)
        assert endpoints.reserve(THERE, "a", at - 0.5) > at - 0.5


def test_succeeded_returns_when_the_endpoint_worked_before() -> None:
    endpoints = StsEndpoints()
    assert endpoints.succeeded(HERE, 10.0) == float("-inf")
    assert endpoints.succeeded(THERE, 11.0) == float("-inf")
    assert endpoints.succeeded(HERE, 12.0) == 10.0


class TestCallingAccount:
    """`Refresher.prepare` returns the endpoint whose quota a call uses."""

    def test_it_is_named_by_the_source_until_its_account_is_known(self) -> None:
        keys = role("deploy")
        assert _account_of(keys) == "profile keys"
        assert _account_of(keys, named="111122223333") == "111122223333"

    def test_of_a_chain_it_is_the_account_of_the_nearest_role(self) -> None:
        hub = role("hub", role_arn="arn:aws:iam::222233334444:role/hub")
        child = role("child", parent="hub", role_arn="arn:aws:iam::333344445555:role/child")
        grandchild = role("grandchild", parent="child")
        assert _account_of(child, hub) == "222233334444"
        assert _account_of(grandchild, child, hub) == "333344445555"

    def test_of_a_chain_from_a_copied_source_it_is_the_account_of_that_source(self) -> None:
        own = role("own", role_arn=None)
        child = role("child", parent="own")
        assert _account_of(child, own, named="444455556666") == "444455556666"

    def test_of_a_web_identity_it_is_the_account_of_the_role(self) -> None:
        pod = role("pod", source=WebIdentity(Path("/token")))
        assert _account_of(pod) == "111122223333"

    def test_of_an_mfa_session_it_is_the_account_that_the_source_names(self) -> None:
        login = MfaSession(SourceProfile("keys"), "arn:aws:iam::555566667777:mfa/jane")
        assert _account_of(role("deploy", source=login), named="555566667777") == "555566667777"

    def test_get_caller_identity_names_the_account_of_a_source(self) -> None:
        own = role("own", role_arn=None)
        deploy = role("deploy")
        refresher, sources = _refresher(own, deploy)
        assert _prepared_account(refresher, deploy) == "profile keys"
        sources.known["keys"].own = TemporaryCredentials(
            "ASIAOWN", "own-secret", "own-token", NOON + timedelta(hours=1)
        )
        refresher.assume(own, refresher.prepare(own))
        assert _prepared_account(refresher, deploy) == "111122223333"

    def test_a_source_that_has_changed_is_asked_again(self) -> None:
        deploy = role("deploy")
        refresher, sources = _refresher(deploy)
        assert _prepared_account(refresher, deploy) == "profile keys"
        sources.known["keys"].account_id = "111122223333"
        sources.known["keys"].fingerprint = "keys 2"
        assert _prepared_account(refresher, deploy) == "111122223333"

    def test_a_source_that_cannot_be_resolved_has_no_endpoint(self) -> None:
        lost = role("lost", source=SourceProfile("nowhere"))
        refresher, _ = _refresher(lost)
        prepared = refresher.prepare(lost)
        assert (prepared.source, prepared.endpoint) == (None, None)


def _refresher(*definitions: ProfileDefinition) -> tuple[Refresher, FakeSources]:
    clock, sources = FakeClock(), FakeSources("keys")
    for definition in definitions:
        name = str(definition.source)
        if not isinstance(definition.source, SourceProfile):
            sources.known[name] = FakeSource(name, "1")
    refresher = Refresher(
        clock=clock, sources=sources, sts=FakeSts(clock), store=ProfilesInMemory()
    )
    refresher.set_definitions({definition.profile: definition for definition in definitions})
    return refresher, sources


def _prepared_account(refresher: Refresher, definition: ProfileDefinition) -> str:
    endpoint = refresher.prepare(definition).endpoint
    assert endpoint is not None
    return endpoint.account_id


def _account_of(
    definition: ProfileDefinition, *parents: ProfileDefinition, named: str | None = None
) -> str:
    refresher, sources = _refresher(definition, *parents)
    for source in sources.known.values():
        source.account_id = named
    return _prepared_account(refresher, definition)


def test_endpoints_that_are_no_longer_used_are_forgotten_after_a_day() -> None:
    endpoints = StsEndpoints()
    for day in range(10):
        endpoint = StsEndpoint(f"https://sts.region-{day}.amazonaws.com", "111122223333")
        endpoints.throttled(endpoint, day * 86_400.0)
        endpoints.reserve(endpoint, f"profile-{day}", day * 86_400.0)
    assert len(endpoints._states) == len(endpoints._reservations) == 1
