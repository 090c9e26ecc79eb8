"""Rejects plain HTTP: credentials travel over TLS, or do not leave this machine."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from assumed.errors import StsRequestRejectedError


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reject_plain_http(*, request: Any = None, **_: Any) -> None:
    """Reject a request of botocore that would cross the network unencrypted.

    This is a handler of botocore's `before-send` event.

    Raises:
        StsRequestRejectedError: the URL is plain HTTP to another machine.
    """
    if request.url.startswith("http://") and not is_loopback(request.url):
        raise plain_http_error(request.url)


def plain_http_error(url: str) -> StsRequestRejectedError:
    """Return the error for an endpoint without TLS."""
    return StsRequestRejectedError(
        f"http://{urlsplit(url).hostname} is plain HTTP: the response would carry the credentials "
        "unencrypted",
        hint="use https in AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS and endpoint_url",
        code="PlainHttp",
    )
