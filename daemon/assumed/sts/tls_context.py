"""One TLS context for each CA bundle, shared by all connections of the process.

By default, urllib3 parses the CA bundle again for each connection that botocore opens. That takes
ten times as much CPU as the rest of the call. docs/adr/0011-one-tls-context.md lists what this
module relies on in botocore and urllib3. If any of it changes, botocore connects in its own way.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from functools import cache
from socket import socket
from typing import Any, NoReturn, cast

from botocore import httpsession
from botocore.config import Config
from botocore.session import Session as BotocoreSession

from assumed.errors import StsRequestRejectedError
from assumed.logs.events import event
from assumed.sts.response_limits import limit_client
from assumed.sts.tls import is_loopback, reject_ambiguous_endpoint

_FileState = tuple[int, int, int, int, int]


class SharedTlsSession(BotocoreSession):
    """A botocore session whose clients share TLS contexts and limit responses.

    This includes the clients that botocore creates itself: for SSO, OIDC, `aws login` and the role
    of a source profile.
    """

    def create_client(self, *args: Any, **options: Any) -> Any:
        """Create a client of an AWS service; plain HTTP on loopback uses no proxy.

        Raises:
            StsRequestRejectedError: a setting that names the CA bundle is empty, or the endpoint
                is ambiguous.
        """
        _refuse_empty_ca_bundle(self)
        client: Any = super().create_client(*args, **options)
        reject_ambiguous_endpoint(client.meta.endpoint_url)
        url: str = client.meta.endpoint_url
        if url.startswith("http://") and is_loopback(url):
            direct = Config(proxies={})
            config: Config | None = options.get("config")
            options["config"] = direct if config is None else config.merge(direct)
            client = super().create_client(*args, **options)
        _share_contexts(client)
        limit_client(client)
        return client


class SharedContexts:
    """The TLS contexts by the path of their CA bundle; safe to use from many threads."""

    def __init__(self) -> None:
        self._bundles: dict[str, _CaBundle] = {}

    def get(self, path: str) -> ssl.SSLContext:
        """Return the context that verifies with this CA bundle as the file is now.

        Raises:
            OSError: the file cannot be read, or has no certificate.
        """
        return self._bundles.setdefault(path, _CaBundle(path)).context()


class _CaBundle:
    """A file of CA certificates and the context that has them loaded."""

    def __init__(self, path: str) -> None:
        self._path = path
        # One lock for each file: a file system that hangs delays only those that use it.
        self._lock = threading.Lock()
        self._state: _FileState | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        with self._lock:
            # Before the file is read: a change in the meantime is noticed the next time.
            state = _file_state(self._path)
            if self._context is None or state != self._state:
                self._context = _LoadedContext.load(self._path)
                self._state = state
            return self._context


def _file_state(path: str) -> _FileState:
    found = os.stat(path)  # noqa: PTH116 - the path may be anything that OpenSSL opens
    # Programs can set mtime back, but not ctime.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class _ContextChangeError(Exception):
    """A connection would change a context that others use."""


class _LoadedContext(ssl.SSLContext):
    """A context with its CA certificates, which nothing can change.

    For each connection, urllib3 sets what it has set before: the bundle, the mode, the protocols of
    ALPN. That is ignored, since a change is not safe while another thread opens a connection:
    https://github.com/python/cpython/issues/141012. Anything else is an error.
    """

    _path: str
    _protocols: list[str]
    _lock: threading.Lock

    @classmethod
    def load(cls, path: str) -> _LoadedContext:
        """Create a context as botocore does and load a CA bundle.

        Raises:
            OSError: the file cannot be read, or has no certificate.
        """
        context = httpsession.create_urllib3_context()
        context.load_verify_locations(path)
        vars(context).update(_path=path, _protocols=[], _lock=threading.Lock())
        # Changing the class keeps every setting of botocore, also those of its next version.
        context.__class__ = cls
        return cast("_LoadedContext", context)

    def __setattr__(self, name: str, value: object) -> None:
        if getattr(self, name, None) != value:
            raise _ContextChangeError(f"{name} = {value}")

    def load_verify_locations(
        self, cafile: Any = None, capath: Any = None, cadata: Any = None
    ) -> None:
        """Do nothing for the bundle that is loaded.

        Raises:
            _ContextChangeError: for any other, which all connections would trust.
        """
        if cafile != self._path or capath or cadata:
            raise _ContextChangeError("load_verify_locations")

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        """Set the protocols once.

        Raises:
            _ContextChangeError: others are set.
        """
        with self._lock:
            if not self._protocols:
                super().set_alpn_protocols(alpn_protocols)
                self._protocols.extend(alpn_protocols)
            elif alpn_protocols != self._protocols:
                raise _ContextChangeError("set_alpn_protocols")

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise _ContextChangeError("load_cert_chain, load_default_certs or set_ciphers")

    load_cert_chain = load_default_certs = set_ciphers = _refuse


class _SharesContext:
    """What is added to a connection of urllib3."""

    sock: socket | None
    ssl_context: ssl.SSLContext | None
    ca_certs: str | None
    cert_file: str | None
    cert_reqs: int | str | None

    def connect(self) -> None:
        """Connect with the shared context, and in the way of botocore if that is not possible."""
        own = getattr(self, "ssl_context", None)
        try:
            self.ssl_context = self._shared_context() or own
            super().connect()  # type: ignore[misc]
        except _ContextChangeError as error:
            _report_unavailable(error)
            if self.sock is not None:
                self.sock.close()
            self.ssl_context = own
            super().connect()  # type: ignore[misc]
        finally:
            self.ssl_context = own

    def _shared_context(self) -> ssl.SSLContext | None:
        try:
            is_verified = self.cert_reqs in ("CERT_REQUIRED", ssl.CERT_REQUIRED)
            # A certificate of the client's own would be loaded into the context.
            if not is_verified or not self.ca_certs or self.cert_file:
                return None
            return _CONTEXTS.get(self.ca_certs)
        except OSError:
            return None  # botocore fails for the same reason, and names the endpoint.
        except Exception as error:  # noqa: BLE001 - botocore's own way remains, whatever changed
            _report_unavailable(error)
            return None


_CONTEXTS = SharedContexts()


def _share_contexts(client: Any) -> None:
    """Have the connections of a botocore client share contexts."""
    try:
        pool_classes = client._endpoint.http_session._pool_classes_by_scheme
        pool_classes["https"] = _sharing(pool_classes["https"])
    except (AttributeError, LookupError, TypeError) as error:
        _report_unavailable(error)


@cache
def _sharing(pool: Any) -> type:
    """Return a subclass of a pool of urllib3 whose connections share contexts."""
    connection = type("SharingConnection", (_SharesContext, pool.ConnectionCls), {})
    return type("SharingConnectionPool", (pool,), {"ConnectionCls": connection})


def _report_unavailable(error: Exception) -> None:
    _log_unavailable(f"{type(error).__name__}: {error}")


@cache
def _log_unavailable(error: str) -> None:
    """Log an error once; it is the same for every connection."""
    event(
        logging.WARNING,
        "tls_sharing_unavailable",
        error=error,
        hint="nothing to do: each connection loads the CA bundle by itself, which takes more CPU; "
        "the installed version of botocore or urllib3 is not known to assumed",
    )


def _refuse_empty_ca_bundle(session: BotocoreSession) -> None:
    """Refuse a CA setting that is empty, which some versions of botocore take for "do not verify".

    Raises:
        StsRequestRejectedError: names the variable or the profile.
    """
    bundle: str | None = session.get_config_variable("ca_bundle")
    if bundle is None:
        variable, bundle = "REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE")
    else:
        variable = "AWS_CA_BUNDLE" if "AWS_CA_BUNDLE" in os.environ else ""
    if bundle is None or bundle.strip():
        return
    if variable:
        problem = f"{variable} is set but empty"
        hint = f"unset {variable}, or set it to a file of CA certificates, and start assumed again"
    else:
        profile = getattr(session, "settings_profile", None) or session.profile or "default"
        problem = f'ca_bundle of profile "{profile}" is empty'
        hint = "remove the line from the AWS config file, or name a file of CA certificates"
    raise StsRequestRejectedError(
        f"{problem}: without CA certificates no server can be verified",
        hint=hint,
        code="EmptyCaBundle",
    )
