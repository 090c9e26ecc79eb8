"""The cache of TLS contexts, and what of botocore and urllib3 it relies on."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from botocore import httpsession
from botocore.session import Session as BotocoreSession
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from assumed.errors import StsRequestRejectedError
from assumed.sts import response_limits, tls_context
from assumed.sts.tls_context import SharedContexts, SharedTlsSession

PEM = [trustme.CA(organization_name=name).cert_pem.bytes() for name in ("first", "second")]
SETTINGS = (
    "check_hostname", "hostname_checks_common_name", "maximum_version", "minimum_version",
    "options", "post_handshake_auth", "protocol", "security_level", "verify_flags", "verify_mode",
)  # fmt: skip


META = SimpleNamespace(endpoint_url="https://sts.us-east-1.amazonaws.com")


@pytest.fixture(autouse=True)
def aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log of a process that has logged nothing yet."""
    tls_context._log_unavailable.cache_clear()
    response_limits._log_unavailable.cache_clear()
    caplog.set_level(logging.INFO, "assumed")
    yield caplog
    tls_context._log_unavailable.cache_clear()
    response_limits._log_unavailable.cache_clear()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(PEM[0])
    return path


def trusted(context: ssl.SSLContext) -> list[bytes]:
    return [ssl.DER_cert_to_PEM_cert(found).encode() for found in context.get_ca_certs(True)]


def test_a_bundle_is_loaded_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = count_contexts(monkeypatch)
    contexts = SharedContexts()
    first = contexts.get(str(bundle))
    assert contexts.get(str(bundle)) is first
    assert trusted(first) == [PEM[0]]
    assert len(created) == 1


def count_contexts(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    created: list[ssl.SSLContext] = []
    create = httpsession.create_urllib3_context

    def counted() -> ssl.SSLContext:
        context: ssl.SSLContext = create()
        created.append(context)
        return context

    monkeypatch.setattr(httpsession, "create_urllib3_context", counted)
    return created


def test_a_bundle_that_was_rewritten_is_loaded_again(bundle: Path) -> None:
    contexts = SharedContexts()
    before = contexts.get(str(bundle))
    bundle.write_bytes(PEM[0] + PEM[1])
    assert sorted(trusted(contexts.get(str(bundle)))) == sorted(PEM)
    assert trusted(before) == [PEM[0]]


def test_a_certificate_that_was_removed_is_not_trusted(bundle: Path) -> None:
    contexts = SharedContexts()
    bundle.write_bytes(PEM[0] + PEM[1])
    contexts.get(str(bundle))
    bundle.write_bytes(PEM[1])
    assert trusted(contexts.get(str(bundle))) == [PEM[1]]


@pytest.mark.parametrize("is_renamed", [False, True], ids=["in place", "by rename"])
def test_a_replacement_of_the_same_size_and_mtime_is_noticed(
    bundle: Path, *, is_renamed: bool
) -> None:
    contexts = SharedContexts()
    new = bundle.with_name("new.pem") if is_renamed else bundle
    for pem in (PEM[0], PEM[1]):
        new.write_bytes(pem.ljust(4096, b"\n"))
        os.utime(new, ns=(0, 0))
        new.rename(bundle)
        assert trusted(contexts.get(str(bundle))) == [pem]


def test_a_link_that_leads_to_another_file_is_noticed(tmp_path: Path) -> None:
    for number, pem in enumerate(PEM):
        (tmp_path / f"{number}.pem").write_bytes(pem)
    link = tmp_path / "ca.pem"
    contexts = SharedContexts()
    for number, pem in enumerate(PEM):
        link.unlink(missing_ok=True)
        link.symlink_to(f"{number}.pem")
        assert trusted(contexts.get(str(link))) == [pem]


def test_each_bundle_has_a_context_of_its_own(tmp_path: Path) -> None:
    contexts = SharedContexts()
    for number, pem in enumerate(PEM):
        path = tmp_path / f"{number}.pem"
        path.write_bytes(pem)
        assert trusted(contexts.get(str(path))) == [pem]


@pytest.mark.parametrize("damage", ["missing", "empty", "garbled", "a directory"])
def test_a_bundle_that_became_unreadable_is_an_error_until_it_is_readable(
    bundle: Path, damage: str
) -> None:
    contexts = SharedContexts()
    contexts.get(str(bundle))
    bundle.unlink()
    if damage == "a directory":
        bundle.mkdir()
    elif damage != "missing":
        bundle.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n" if damage == "garbled" else "")
    for _ in range(2):
        with pytest.raises(OSError):
            contexts.get(str(bundle))
    if damage == "a directory":
        bundle.rmdir()
    bundle.write_bytes(PEM[1])
    assert trusted(contexts.get(str(bundle))) == [PEM[1]]


def test_many_threads_load_a_bundle_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = count_contexts(monkeypatch)
    contexts, together = SharedContexts(), threading.Barrier(32)

    def get(_: int) -> ssl.SSLContext:
        together.wait()
        return contexts.get(str(bundle))

    with ThreadPoolExecutor(32) as pool:
        assert len(set(pool.map(get, range(32)))) == 1
    assert len(created) == 1


def test_a_file_system_that_hangs_delays_no_other_bundle(tmp_path: Path, bundle: Path) -> None:
    # Opening a pipe waits until a program writes to it.
    hanging = tmp_path / "hanging.pem"
    os.mkfifo(hanging)
    contexts = SharedContexts()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(contexts.get, str(hanging))
        with hanging.open("wb") as pipe:
            assert trusted(contexts.get(str(bundle))) == [PEM[0]]
            assert not waiting.done()
            pipe.write(PEM[1])
        assert trusted(waiting.result()) == [PEM[1]]


def test_a_context_has_every_setting_that_botocore_gives_its_own(bundle: Path) -> None:
    own, shared = httpsession.create_urllib3_context(), SharedContexts().get(str(bundle))
    for name in SETTINGS:
        assert getattr(shared, name) == getattr(own, name), name
    assert shared.get_ciphers() == own.get_ciphers()
    assert shared.verify_mode is ssl.CERT_REQUIRED


def test_a_context_takes_what_it_has_already(bundle: Path) -> None:
    context = SharedContexts().get(str(bundle))
    for _ in range(2):
        context.load_verify_locations(str(bundle), None, None)
        context.set_alpn_protocols(["http/1.1"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = False
    assert trusted(context) == [PEM[0]]


CHANGES: dict[str, Callable[[Any, Path], object]] = {
    "another bundle": lambda context, path: context.load_verify_locations(str(path.parent / "b")),
    "a directory": lambda context, path: context.load_verify_locations(str(path), str(path.parent)),
    "data beside the bundle": lambda context, path: context.load_verify_locations(
        str(path), None, PEM[1].decode()
    ),
    "data": lambda context, _: context.load_verify_locations(cadata=PEM[1].decode()),
    "the CAs of the system": lambda context, _: context.load_default_certs(),
    "a certificate of the client": lambda context, path: context.load_cert_chain(str(path)),
    "ciphers": lambda context, _: context.set_ciphers("DEFAULT"),
    "other protocols": lambda context, _: context.set_alpn_protocols(["h2"]),
    "no verification": lambda context, _: setattr(context, "verify_mode", ssl.CERT_NONE),
    "a check of the name": lambda context, _: setattr(context, "check_hostname", True),
    "flags": lambda context, _: setattr(context, "verify_flags", ssl.VERIFY_DEFAULT),
    "another version": lambda context, _: setattr(
        context, "minimum_version", ssl.TLSVersion.TLSv1_3
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_context_does_not_change(bundle: Path, change: Callable[[Any, Path], object]) -> None:
    context = SharedContexts().get(str(bundle))
    context.set_alpn_protocols(["http/1.1"])
    before = {name: getattr(context, name) for name in SETTINGS}
    with pytest.raises(tls_context._ContextChangeError):
        change(context, bundle)
    assert {name: getattr(context, name) for name in SETTINGS} == before
    assert trusted(context) == [PEM[0]]


def test_the_protocols_are_set_only_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(
        ssl.SSLContext, "set_alpn_protocols", lambda _, protocols: given.append(protocols)
    )
    context = SharedContexts().get(str(bundle))
    for _ in range(3):
        context.set_alpn_protocols(["http/1.1"])
    assert given == [["http/1.1"]]


class TestSeam:
    """What docs/adr/0011-one-tls-context.md says is relied on."""

    @pytest.mark.parametrize("service", ["sts", "sso", "sso-oidc", "signin"])
    def test_the_pools_of_a_client_of_botocore_can_be_replaced(
        self, service: str, logged: pytest.LogCaptureFixture
    ) -> None:
        client = SharedTlsSession().create_client(service)
        assert [record.message for record in logged.records] == [], (
            "botocore has moved the classes of its connection pools: see _share_contexts"
        )
        session = client._endpoint.http_session
        pool = session._manager.connection_from_url("https://sts.example.com")
        assert isinstance(pool, HTTPSConnectionPool)
        assert isinstance(pool._new_conn(), tls_context._SharesContext), (
            "botocore does not take the pools from _pool_classes_by_scheme any more"
        )
        proxied = session._get_proxy_manager("http://proxy.example.com:3128")
        pool = proxied.connection_from_url("https://sts.example.com")
        assert isinstance(pool._new_conn(), tls_context._SharesContext), (
            "botocore creates the pools behind a proxy in another way"
        )

    def test_the_connections_of_urllib3_take_their_settings_from_attributes(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        connection = HTTPSConnection(
            "sts.example.com", ca_certs="/ca.pem", cert_reqs="CERT_REQUIRED", ssl_context=context
        )
        found = vars(connection)
        assert found["ssl_context"] is context
        assert found["ca_certs"] == "/ca.pem"
        assert found["cert_reqs"] == "CERT_REQUIRED"
        assert found["cert_file"] is None

    def test_botocore_verifies_with_a_path_for_each_connection(self) -> None:
        http: Any = httpsession.URLLib3Session()
        pool = http._manager.connection_from_url("https://sts.example.com")
        http._setup_ssl_cert(pool, "https://sts.example.com", "/ca.pem")
        connection = pool._new_conn()
        assert (connection.cert_reqs, connection.ca_certs) == ("CERT_REQUIRED", "/ca.pem")

    def test_every_client_that_botocore_creates_is_created_by_its_session(self) -> None:
        """As for SSO and the role of a source profile."""
        created = []

        class Counted(SharedTlsSession):
            def create_client(self, *args: Any, **options: Any) -> Any:
                created.append(args[0])
                return super().create_client(*args, **options)

        resolver = Counted().get_component("credential_provider")
        for method in ("sso", "assume-role-with-web-identity", "login"):
            creator = resolver.get_provider(method)._client_creator
            creator("sts", region_name="eu-central-1")
        assert created == ["sts"] * 3


class TestFallback:
    def test_a_client_of_an_unknown_kind_is_used_as_it_is(
        self, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
    ) -> None:
        unknown = SimpleNamespace(meta=META)
        monkeypatch.setattr(BotocoreSession, "create_client", lambda *_, **__: unknown)
        for _ in range(3):
            assert SharedTlsSession().create_client("sts") is unknown
        assert [(record.message, record.levelno) for record in logged.records] == [
            ("tls_sharing_unavailable", logging.WARNING),
            ("response_limits_unavailable", logging.WARNING),
        ]

    @pytest.mark.parametrize("changed", [{}, {"https": None}, None])
    def test_pools_of_an_unknown_kind_are_left_alone(
        self, changed: Any, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
    ) -> None:
        class Client:
            meta = META
            _endpoint: Any = type("", (), {"http_session": type("", (), {})})

        Client._endpoint.http_session._pool_classes_by_scheme = changed
        monkeypatch.setattr(BotocoreSession, "create_client", lambda *_, **__: Client())
        assert isinstance(SharedTlsSession().create_client("sts"), Client)
        assert [record.message for record in logged.records] == [
            "tls_sharing_unavailable",
            "response_limits_unavailable",
        ]
        assert Client._endpoint.http_session._pool_classes_by_scheme in ({}, {"https": None}, None)

    def test_a_connection_keeps_the_context_of_botocore_if_none_can_be_created(
        self, bundle: Path, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delattr(httpsession, "create_urllib3_context")
        for _ in range(3):
            connection = Connection(str(bundle))
            connection.connect()
            assert connection.connected_with is connection.ssl_context
        [record] = logged.records
        assert record.message == "tls_sharing_unavailable"
        assert "create_urllib3_context" in record.__dict__["fields"]["error"]

    def test_a_bundle_that_is_missing_is_left_to_botocore_to_report(
        self, tmp_path: Path, logged: pytest.LogCaptureFixture
    ) -> None:
        connection = Connection(str(tmp_path / "missing.pem"))
        connection.connect()
        assert connection.connected_with is connection.ssl_context
        assert logged.records == []


class Opens:
    """Notes the context that a connection is opened with."""

    def connect(self) -> None:
        self.connected_with = self.ssl_context  # type: ignore[attr-defined]


class Connection(tls_context._SharesContext, Opens):
    def __init__(self, ca_certs: str | None) -> None:
        self.sock = None
        self.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca_certs, self.cert_file = ca_certs, None
        self.cert_reqs: int | str | None = "CERT_REQUIRED"


def test_a_connection_has_the_shared_context_only_while_it_connects(bundle: Path) -> None:
    connection = Connection(str(bundle))
    own = connection.ssl_context
    connection.connect()
    assert connection.connected_with is tls_context._CONTEXTS.get(str(bundle))
    assert connection.ssl_context is own


@pytest.mark.parametrize(
    "changes",
    [
        {"cert_reqs": "CERT_NONE"},
        {"cert_reqs": ssl.CERT_NONE},
        {"cert_reqs": ssl.CERT_OPTIONAL},
        {"cert_reqs": None},
        {"ca_certs": None},
        {"cert_file": "/client.pem"},
    ],
)
def test_a_connection_that_verifies_in_another_way_shares_nothing(
    bundle: Path, changes: dict[str, Any]
) -> None:
    connection = Connection(str(bundle))
    vars(connection).update(changes)
    connection.connect()
    assert connection.connected_with is connection.ssl_context


EMPTY = ["", " ", "\t"]


@pytest.mark.parametrize("value", EMPTY)
@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_an_empty_variable_is_refused_by_its_name(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StsRequestRejectedError) as raised:
        SharedTlsSession().create_client("sts")
    assert raised.value.code == "EmptyCaBundle"
    assert raised.value.message.startswith(f"{variable} is set but empty")
    assert f"unset {variable}" in raised.value.hint


@pytest.mark.parametrize("value", EMPTY)
@pytest.mark.parametrize("profile", [None, "keys"])
def test_an_empty_ca_bundle_is_refused_with_the_name_of_the_profile(
    value: str, profile: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    header = "default" if profile is None else f"profile {profile}"
    config.write_text(f"[{header}]\nca_bundle ={value}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/ca.pem")
    with pytest.raises(StsRequestRejectedError) as raised:
        SharedTlsSession(profile=profile).create_client("sts")
    assert f'profile "{profile or "default"}"' in raised.value.message
    assert "ca_bundle" in raised.value.message


def test_a_variable_that_botocore_does_not_read_may_be_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nca_bundle =\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_CA_BUNDLE", "/ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    SharedTlsSession().create_client("sts")
