"""Error responses in other forms than that of AWS STS, turned into it before botocore parses them.

botocore's parser of the query protocol expects XML. Gateways and some implementations of STS answer
with JSON, and proxies with HTML, plain text or nothing. Of those that are no error of STS, the HTTP
status is what there is to report: as a code of digits, and in the message.

Sources: API reference of AWS STS, "Common errors" (XML); AWS JSON protocol, `__type` and the header
`x-amzn-errortype`; MinIO, cmd/sts-errors.go, which has the form of AWS; Ceph RGW, rgw_rest_sts.cc,
and the S3 API of MinIO, `<Error>` alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import Any
from xml.sax.saxutils import escape

from assumed.untrusted_text import clean, error_code

_UNKNOWN = error_code(None)


def unify_error_body(response_dict: MutableMapping[str, Any], **_: object) -> None:
    """Replace the body of an error response that is not XML with a code; botocore's `before-parse`.

    Args:
        response_dict: status, headers and body as botocore's parser gets them.
    """
    status = response_dict["status_code"]
    body = response_dict.get("body") or b""
    if status < HTTPStatus.MULTIPLE_CHOICES or b"<Code" in body:
        return
    code, message = _from_json(body, response_dict.get("headers") or {})
    if code == _UNKNOWN:
        code, message = str(status), _describe(status, body)
    response_dict["body"] = (
        f"<ErrorResponse><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        "</ErrorResponse>"
    ).encode()


def _from_json(body: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the code and the message of a JSON error; an unknown code if it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return _UNKNOWN, ""
    if not isinstance(found, dict):
        return _UNKNOWN, ""
    inner = found.get("Error", found.get("error"))
    error = inner if isinstance(inner, dict) else found
    kinds = (error.get("Code"), error.get("code"), error.get("__type"))
    named = [kind for kind in (*kinds, headers.get("x-amzn-errortype")) if isinstance(kind, str)]
    # `com.amazonaws.sts#Name`, and `Name:http://…` in the header.
    code = named[0].rpartition("#")[2].partition(":")[0] if named else ""
    message = error.get("Message") or error.get("message")
    return error_code(code), clean(message) if isinstance(message, str) else ""


def _describe(status: int, body: bytes) -> str:
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    content = "an empty body" if not body.strip() else "a body that is no error of STS"
    return f"HTTP status {phrase}, with {content}"
