"""Where a secret may travel: encrypted, or not beyond this machine."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from assumed.errors import StsRequestRejectedError


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine alone."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_plain_http(*, request: Any = None, **_: Any) -> None:
    """Refuse a request of botocore that would go over the network unencrypted.

    Raises:
        StsRequestRejectedError: what is answered there *is* the secret.
    """
    if request.url.startswith("http://") and not is_loopback(request.url):
        raise plain_http(request.url)


def plain_http(url: str) -> StsRequestRejectedError:
    """Return the error for such an endpoint."""
    return StsRequestRejectedError(
        f"http://{urlsplit(url).hostname} is plain http, and what is answered there is the secret",
        hint="use https in AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS and endpoint_url",
        code="PlainHttp",
    )
