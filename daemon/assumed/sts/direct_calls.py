"""An STS client that repeats botocore's request instead of working it out again for each call.

For each call, botocore resolves the endpoint by the rules of all services, builds the user agent,
and runs its handlers; that takes as much processor time as sending the request. All of it depends
on the client alone. The first request of each operation is therefore made by botocore's client,
and is the template of the later ones: these have other parameters, another date and a signature by
botocore's own signer, and go the same way through botocore's HTTP session and parser.

docs/adr/0012-direct-calls.md lists what this relies on in botocore. If any of it changes, or if the
first request has a header that is not known here, botocore's client makes all requests.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from botocore.awsrequest import AWSRequest
from botocore.endpoint import convert_to_response_dict
from botocore.parsers import ResponseParserFactory
from botocore.utils import parse_timestamp

_SIGNED = {"authorization", "x-amz-date", "x-amz-security-token"}
_OF_EACH_REQUEST = {"amz-sdk-invocation-id", "amz-sdk-request", "content-length"}
_SAME = {"content-type", "host", "user-agent"}
# What botocore adds to the context of a request while it sends it.
_OF_ONE_CALL = {"retries", "timestamp"}
_STS_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_INVOCATION_ID, _ATTEMPT = "amz-sdk-invocation-id", "amz-sdk-request"


@dataclass(frozen=True, slots=True)
class _Template:
    """What all requests of an operation have in common."""

    url: str
    headers: Mapping[str, str]
    attempt: str
    context: Mapping[str, Any]


class DirectClient:
    """Makes the requests of an STS client of botocore; safe to use from many threads.

    Args:
        client: of botocore, without retries.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._templates: dict[str, _Template | None] = {}
        """By operation; None if botocore's client makes its requests."""
        parsers = ResponseParserFactory()
        parsers.set_parser_defaults(timestamp_parser=parse_expiration)
        self._parser = parsers.create_parser(client.meta.service_model.resolved_protocol)
        client.meta.events.register_last("before-send.sts", self._learn)

    @property
    def meta(self) -> Any:
        """The description of botocore's client, such as `endpoint_url`."""
        return self._client.meta

    def assume_role(self, **parameters: Any) -> Mapping[str, Any]:
        """Call AssumeRole; raises the exceptions of botocore, as the other methods."""
        return self._call("AssumeRole", self._client.assume_role, parameters)

    def assume_role_with_web_identity(self, **parameters: Any) -> Mapping[str, Any]:
        """Call AssumeRoleWithWebIdentity."""
        method = self._client.assume_role_with_web_identity
        return self._call("AssumeRoleWithWebIdentity", method, parameters)

    def get_session_token(self, **parameters: Any) -> Mapping[str, Any]:
        """Call GetSessionToken."""
        return self._call("GetSessionToken", self._client.get_session_token, parameters)

    def get_caller_identity(self, **parameters: Any) -> Mapping[str, Any]:
        """Call GetCallerIdentity."""
        return self._call("GetCallerIdentity", self._client.get_caller_identity, parameters)

    def _call(
        self,
        operation: str,
        method: Callable[..., Mapping[str, Any]],
        parameters: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        template = self._templates.get(operation)
        if template is None:
            return method(**parameters)
        return self._send(operation, template, parameters)

    def _send(
        self, operation: str, template: _Template, parameters: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        client = self._client
        model = client.meta.service_model.operation_model(operation)
        body = client._serializer.serialize_to_request(parameters, model)["body"]
        request = AWSRequest(
            "POST", template.url, headers=template.headers, data=urlencode(body, doseq=True)
        )
        request.context.update(template.context)
        client._request_signer.sign(operation, request)
        request.headers[_INVOCATION_ID] = str(uuid.uuid4())
        request.headers[_ATTEMPT] = template.attempt
        prepared = request.prepare()
        client.meta.events.emit(f"before-send.sts.{operation}", request=prepared)
        response = client._endpoint.http_session.send(prepared)
        answer = convert_to_response_dict(response, model)
        is_error = response.status_code >= HTTPStatus.MULTIPLE_CHOICES
        if is_error:
            # An event costs 200 function calls, and the handlers look at errors alone.
            client.meta.events.emit(f"before-parse.sts.{operation}", response_dict=answer)
        parsed: Mapping[str, Any] = self._parser.parse(answer, model.output_shape)
        if is_error:
            kind = client.exceptions.from_code(parsed.get("Error", {}).get("Code"))
            raise kind(parsed, operation)
        return parsed

    def _learn(self, request: Any, event_name: str, **_: Any) -> None:
        """Keep the first request of an operation; a handler of botocore's `before-send` event."""
        operation = event_name.rpartition(".")[2]
        if operation not in self._templates:
            self._templates[operation] = self._template(request)

    def _template(self, request: Any) -> _Template | None:
        headers = {name: _text(value) for name, value in dict(request.headers).items()}
        names = {name.lower() for name in headers}
        context = getattr(request, "context", None)
        internals = ("_serializer", "_request_signer", "_endpoint")
        is_usual = (
            request.method == "POST"
            and names <= _SIGNED | _OF_EACH_REQUEST | _SAME
            and _ATTEMPT in headers
            and all(hasattr(self._client, name) for name in internals)
        )
        if not is_usual or not isinstance(context, dict):
            return None
        same = {name: value for name, value in headers.items() if name.lower() in _SAME}
        kept = {name: value for name, value in context.items() if name not in _OF_ONE_CALL}
        return _Template(request.url, same, headers[_ATTEMPT], kept)


def parse_expiration(value: Any) -> datetime:
    """Parse a timestamp as botocore does, and quickly if it is one as STS sends it."""
    if isinstance(value, str) and _STS_TIMESTAMP.fullmatch(value):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    parsed: datetime = parse_timestamp(value)
    return parsed


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
