"""TLS to STS: what is trusted, and that all connections share one context."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import trustme
from botocore.exceptions import SSLError
from botocore.session import Session as BotocoreSession
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util.ssl_ import ssl_wrap_socket

from assumed.clock import SystemClock
from assumed.credential_sources.profile import SourceProfiles
from assumed.errors import StsRequestRejectedError, StsUnavailableError
from assumed.models import SourceProfile
from assumed.sts import tls_context
from assumed.sts.client import AssumedRole, StsClient
from assumed.sts.tls_context import SharedTlsSession
from tests.aws_environment import ignore_aws_files
from tests.fakes import LONG_TERM, role
from tests.integration.tls_sts import ConnectProxy, TlsSts

CA, OTHER_CA = trustme.CA(organization_name="ours"), trustme.CA(organization_name="theirs")
DEPLOY = role("deploy")
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore_aws_files(monkeypatch)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(CA.cert_pem.bytes())
    return path


@contextmanager
def serving(
    directory: Path, certificate: trustme.LeafCert | bytes, *, host: str = "127.0.0.1"
) -> Iterator[TlsSts]:
    """Run an STS with this certificate, and have it called."""
    if isinstance(certificate, trustme.LeafCert):
        certificate = certificate.private_key_and_cert_chain_pem.bytes()
    path = directory / "server.pem"
    path.write_bytes(certificate)
    with pytest.MonkeyPatch.context() as patch, TlsSts(path, host=host) as sts:
        patch.setenv("AWS_ENDPOINT_URL", sts.url())
        yield sts


@pytest.fixture
def sts(tmp_path: Path) -> Iterator[TlsSts]:
    """An STS with a certificate of CA, which no bundle has until a test names one."""
    with serving(tmp_path, CA.issue_cert("127.0.0.1")) as running:
        yield running


class Calls:
    """Calls STS for one role, each time over a new connection of the same client."""

    def __init__(self, session: BotocoreSession | None = None) -> None:
        self.client = StsClient(SystemClock(), connections=32)
        self._session = session or SharedTlsSession()

    def __call__(self, _: int = 0) -> AssumedRole:
        return self.client.assume_role(DEPLOY, LONG_TERM, self._session)

    def is_refused(self) -> str:
        """Return what was wrong with the certificate."""
        with pytest.raises(StsUnavailableError) as raised:
            self()
        assert raised.value.code == "SSLError"
        return raised.value.message


def self_signed() -> bytes:
    """Return a certificate for 127.0.0.1 that signed itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(IPv4Address("127.0.0.1"))
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(pem, *private) + signed.public_bytes(pem)


def dated(start: timedelta, end: timedelta) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return CA.issue_cert("127.0.0.1", not_before=now + start, not_after=now + end)


BAD: dict[str, Callable[[], trustme.LeafCert | bytes]] = {
    "another host": lambda: CA.issue_cert("sts.example.com"),
    "another address": lambda: CA.issue_cert("127.0.0.2", "::1"),
    "a name in place of the address": lambda: CA.issue_cert("localhost"),
    "the right name in the common name alone": lambda: CA.issue_cert(common_name="127.0.0.1"),
    "expired": lambda: dated(-2 * DAY, -DAY),
    "not valid yet": lambda: dated(DAY, 2 * DAY),
    "self-signed": self_signed,
    "of an unknown CA": lambda: OTHER_CA.issue_cert("127.0.0.1"),
}


@pytest.mark.parametrize("session", [BotocoreSession, SharedTlsSession])
@pytest.mark.parametrize("certificate", BAD.values(), ids=BAD.keys())
def test_a_bad_certificate_is_refused_as_botocore_refuses_it(
    certificate: Callable[[], trustme.LeafCert | bytes],
    session: type[BotocoreSession],
    tmp_path: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with serving(tmp_path, certificate()) as sts:
        Calls(session()).is_refused()
    assert sts.requests == []


GOOD = {
    "an IPv4 address": ("127.0.0.1", "", "127.0.0.1"),
    "another IPv4 address": ("127.8.9.10", "", "127.8.9.10"),
    "an IPv6 address": ("::1", "", "::1"),
    "a name": ("127.0.0.1", "localhost", "localhost"),
}


@pytest.mark.parametrize("session", [BotocoreSession, SharedTlsSession])
@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD.keys())
def test_a_good_certificate_is_accepted(
    case: tuple[str, str, str],
    session: type[BotocoreSession],
    tmp_path: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, host, identity = case
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with serving(tmp_path, CA.issue_cert(identity), host=address) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL", sts.url(host))
        Calls(session())()
    assert sts.requests == ["AssumeRole"]


def test_a_chain_with_an_intermediate_ca_is_accepted(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with serving(tmp_path, CA.create_child_ca().issue_cert("127.0.0.1")) as sts:
        Calls()()
    assert sts.requests == ["AssumeRole"]


@pytest.mark.parametrize("setting", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
def test_each_setting_names_the_bundle(
    setting: str, sts: TlsSts, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Calls().is_refused()
    if setting == "ca_bundle":
        config = tmp_path / "config"
        config.write_text(f"[default]\nca_bundle = {bundle}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    else:
        monkeypatch.setenv(setting, str(bundle))
    Calls()()
    assert sts.requests == ["AssumeRole"]


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_an_empty_variable_sends_nothing(
    variable: str, sts: TlsSts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "")
    with pytest.raises(StsRequestRejectedError) as raised:
        Calls()()
    assert raised.value.code == "EmptyCaBundle"
    assert sts.requests == []


def test_an_empty_ca_bundle_stops_the_calls_of_a_source_profile_too(
    sts: TlsSts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = aws_files(tmp_path, monkeypatch, "[profile chained]\nca_bundle =\n")
    source = profiles.resolve("chained")
    with pytest.raises(StsRequestRejectedError) as raised:
        source.credentials()
    assert raised.value.code == "EmptyCaBundle"
    assert 'profile "chained"' in raised.value.message
    assert sts.requests == []


def aws_files(directory: Path, monkeypatch: pytest.MonkeyPatch, config: str) -> SourceProfiles:
    """Write AWS files with keys and with a role that botocore itself assumes."""
    file, credentials = directory / "config", directory / "credentials"
    file.write_text(
        f"{config}role_arn = arn:aws:iam::111122223333:role/chained\nsource_profile = keys\n"
    )
    credentials.write_text(
        f"[keys]\naws_access_key_id = {LONG_TERM.access_key_id}\n"
        f"aws_secret_access_key = {LONG_TERM.secret_access_key}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    return SourceProfiles()


def test_a_ca_that_was_removed_is_refused_at_the_next_connection(
    sts: TlsSts, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    bundle.write_bytes(CA.cert_pem.bytes() + OTHER_CA.cert_pem.bytes())
    call = Calls()
    call()
    bundle.write_bytes(OTHER_CA.cert_pem.bytes())
    call.is_refused()
    bundle.write_bytes(CA.cert_pem.bytes())
    call()
    assert len(sts.requests) == 2


@pytest.mark.parametrize("damage", ["removed", "empty", "garbled"])
def test_a_bundle_that_became_unreadable_verifies_nothing(
    damage: str, sts: TlsSts, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    call = Calls()
    call()
    if damage == "removed":
        bundle.unlink()
    else:
        bundle.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n" if damage == "garbled" else "")
    call.is_refused()
    bundle.write_bytes(CA.cert_pem.bytes())
    call()
    assert len(sts.requests) == 2


def test_the_bundle_of_one_profile_verifies_nothing_for_another(
    sts: TlsSts, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(OTHER_CA.cert_pem.bytes())
    config = tmp_path / "config"
    config.write_text(
        f"[profile ours]\nca_bundle = {bundle}\n[profile theirs]\nca_bundle = {other}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    ours, theirs = (Calls(SharedTlsSession(profile=name)) for name in ("ours", "theirs"))
    for _ in range(2):
        ours()
        theirs.is_refused()


def test_a_client_that_does_not_verify_turns_nothing_off_for_others(
    sts: TlsSts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "other.pem"))
    (tmp_path / "other.pem").write_bytes(OTHER_CA.cert_pem.bytes())
    session = SharedTlsSession()
    keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "example"}
    careless = session.create_client("sts", verify=False, **keys)
    parameters = {"RoleArn": DEPLOY.role_arn, "RoleSessionName": "me"}
    with pytest.warns(InsecureRequestWarning):
        careless.assume_role(**parameters)
    with pytest.raises(SSLError):
        session.create_client("sts", **keys).assume_role(**parameters)
    Calls(session).is_refused()
    assert len(sts.requests) == 1


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_server_behind_a_proxy_is_verified_with_the_bundle(
    sts: TlsSts, bundle: Path, monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool
) -> None:
    bundle.write_bytes((CA if is_trusted else OTHER_CA).cert_pem.bytes())
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        if is_trusted:
            Calls()()
        else:
            Calls().is_refused()
    assert proxy.tunnels == [f"127.0.0.1:{sts.server_port}"]
    assert len(sts.requests) == int(is_trusted)


@pytest.mark.parametrize("has_proxy", [False, True], ids=["direct", "proxy"])
def test_a_urllib3_that_changes_contexts_connects_in_its_own_way(
    sts: TlsSts,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    has_proxy: bool,
) -> None:
    def changing_wrap(*, ssl_context: ssl.SSLContext, ca_certs: str, **options: Any) -> Any:
        ssl_context.load_verify_locations(cadata=Path(ca_certs).read_text())
        return ssl_wrap_socket(ssl_context=ssl_context, **options)

    tls_context._log_unavailable.cache_clear()
    monkeypatch.setattr("urllib3.connection.ssl_wrap_socket", changing_wrap)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with ConnectProxy() as proxy:
        if has_proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        call = Calls()
        for _ in range(2):
            call()
    assert len(sts.requests) == 2
    assert [record.message for record in caplog.records] == ["tls_sharing_unavailable"]


class Spy:
    """What is loaded into contexts, and the contexts that connections are opened with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loads: list[str | None] = []
        self.contexts: set[ssl.SSLContext] = set()
        self.connections = 0
        load, wrap = ssl.SSLContext.load_verify_locations, ssl.SSLContext.wrap_socket

        def counted_load(context: ssl.SSLContext, cafile: Any = None, *others: Any) -> None:
            self.loads.append(cafile)
            load(context, cafile, *others)

        def counted_wrap(context: ssl.SSLContext, *arguments: Any, **options: Any) -> Any:
            if not options.get("server_side"):
                self.connections += 1
                self.contexts.add(context)
            return wrap(context, *arguments, **options)

        monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted_load)
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", counted_wrap)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def test_threads_share_a_context_that_is_loaded_once(
    sts: TlsSts, bundle: Path, monkeypatch: pytest.MonkeyPatch, spy: Spy
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    call, together = Calls(), Barrier(32)

    def call_often(_: int) -> None:
        together.wait()
        for _ in range(4):
            call()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(call_often, range(32)))
    assert len(sts.requests) == spy.connections == 128
    assert spy.loads == [str(bundle)]
    assert len(spy.contexts) == 1


def test_clients_share_a_context_also_those_that_botocore_creates(
    sts: TlsSts, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, spy: Spy
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    profiles = aws_files(tmp_path, monkeypatch, "[profile chained]\n")
    client = StsClient(SystemClock())
    for name in ("keys", "chained"):
        source = profiles.resolve(name)
        for region in ("eu-central-1", "eu-west-1"):
            definition = role("deploy", source=SourceProfile(name), region=region)
            client.assume_role(definition, source.credentials(), source.botocore_session)
    assert len(sts.requests) == spy.connections == 5
    assert spy.loads == [str(bundle)]
    assert len(spy.contexts) == 1


def test_botocore_alone_loads_the_bundle_for_each_connection(
    sts: TlsSts, bundle: Path, monkeypatch: pytest.MonkeyPatch, spy: Spy
) -> None:
    """If not, there is nothing left to share: drop assumed.sts.tls_context."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    call = Calls(BotocoreSession())
    for _ in range(3):
        call()
    assert spy.loads == [str(bundle)] * 3
