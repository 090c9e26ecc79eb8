"""Where requests to AWS may go: over TLS, or not beyond this machine.

Credentials never pass a proxy on their way to the loopback interface or a metadata service.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions

from assumed.errors import SourceUnavailableError, StsRequestRejectedError
from assumed.sts.response_limits import ResponseLimitError
from assumed.text import printable


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reject_ambiguous_endpoint(url: str) -> None:
    """Reject a URL in which two libraries can find different hosts.

    Raises:
        StsRequestRejectedError: it has user information, a backslash, a blank or a control
            character.
    """
    host = url.partition("//")[2].partition("/")[0]
    if "\\" in url or "@" in host or " " in url or not (url.isascii() and url.isprintable()):
        # User information is a password.
        shown = printable(host.rpartition("@")[2])
        raise StsRequestRejectedError(
            f"invalid endpoint at {shown}: the URL has user information, a backslash, a blank or "
            "a control character",
            hint="correct endpoint_url, AWS_ENDPOINT_URL and the variables like it",
            code="BadEndpoint",
        )


def reject_unsafe_request(*, request: Any = None, **_: Any) -> None:
    """Reject a request of botocore that would cross the network unencrypted, or is malformed.

    This is a handler of botocore's `before-send` event.

    Raises:
        StsRequestRejectedError: the URL is plain HTTP to another machine.
        SourceUnavailableError: a token in a header has a line break or the like. `http.client`
            would reject it too, and quote it.
    """
    reject_ambiguous_endpoint(request.url)
    if request.url.startswith("http://") and not is_loopback(request.url):
        raise plain_http_error(request.url)
    for name, value in request.headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if not (text.isascii() and text.isprintable()):
            raise SourceUnavailableError(
                f"the header {name} would have a line break or another character that is not "
                "allowed there: a credential or a token is malformed",
                hint="log in again, or correct what supplies the credentials",
            )


_TIMEOUTS = (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError)


def reject_retry(*, caught_exception: Exception | None = None, **_: Any) -> None:
    """Keep botocore from repeating a request that was over the limits, or had no answer in time.

    This is a handler of botocore's `needs-retry` event.

    Raises:
        ResponseLimitError, HTTPClientError: the reason for the failure.
    """
    if isinstance(caught_exception, _TIMEOUTS):
        raise caught_exception
    if isinstance(caught_exception, exceptions.HTTPClientError):
        error = caught_exception.kwargs.get("error")
        if isinstance(error, ResponseLimitError):
            raise error


class _NoProxy:
    """The proxy settings of an HTTP session of botocore that uses no proxy."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def proxy_url_for(self, url: str) -> None:
        """Return no proxy, for an endpoint that is not ambiguous."""
        reject_ambiguous_endpoint(url)

    def proxy_headers_for(self, _: str) -> dict[str, str]:
        """Return no headers."""
        return {}


def bypass_proxies(http_session: Any) -> None:
    """Have an HTTP session of botocore use no proxy and no ambiguous URL.

    Raises:
        AttributeError: botocore has changed; a request could pass a proxy.
    """
    http_session._proxy_config = _NoProxy(http_session._proxy_config.settings)


def plain_http_error(url: str) -> StsRequestRejectedError:
    """Return the error for an endpoint without TLS."""
    return StsRequestRejectedError(
        f"http://{urlsplit(url).hostname} is plain HTTP: the response would carry the credentials "
        "unencrypted",
        hint="use https in AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS and endpoint_url",
        code="PlainHttp",
    )
