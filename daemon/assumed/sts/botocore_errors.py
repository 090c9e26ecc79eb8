"""What may be repeated of an exception of botocore, without headers and bodies of requests."""

from __future__ import annotations

import json

from botocore import exceptions
from botocore.parsers import ResponseParserError

from assumed.errors import AssumedError
from assumed.sts.response_limits import ResponseLimitError
from assumed.untrusted_text import clean, error_code

# Their text is a fixed sentence, at most with the URL of the endpoint.
_HARMLESS = (
    exceptions.ConnectionClosedError,
    exceptions.ConnectTimeoutError,
    exceptions.EndpointConnectionError,
    exceptions.ProxyConnectionError,
    exceptions.ReadTimeoutError,
    exceptions.SSLError,
)
# These quote the body of a response, or what a process printed on standard output.
_QUOTES_OUTPUT = ("Received non 200 response", "Unsupported version", "Error retrieving metadata")


def own_error(error: BaseException) -> Exception | None:
    """Return the exception of this package that botocore has wrapped; None for any other."""
    found = error.kwargs.get("error") if isinstance(error, exceptions.HTTPClientError) else error
    return found if isinstance(found, AssumedError | ResponseLimitError) else None


def describe(error: Exception) -> str:
    """Return one harmless line about an exception of any kind that botocore has raised."""
    match own_error(error) or error:
        case AssumedError() | ResponseLimitError() as own:
            text = str(own)
        case exceptions.ClientError(response=response):
            found = response.get("Error", {})
            text = f"{error_code(found.get('Code'))}: {found.get('Message') or 'no reason given'}"
        case exceptions.HTTPClientError() | exceptions.ConnectionError() as failed if not (
            isinstance(failed, _HARMLESS)
        ):
            # `http.client` quotes the value of an invalid header.
            text = f"the request failed ({_kind(failed.kwargs.get('error', failed))})"
        case exceptions.BotoCoreError() | OSError():
            text = str(error)
            if any(quoted in text for quoted in _QUOTES_OUTPUT):
                text = "malformed response"
        case json.JSONDecodeError():
            text = f"malformed response: {error}"
        case ResponseParserError():
            text = "malformed response: it is not XML that botocore can parse"
        case _:
            # botocore trusts the shape of responses, and its errors quote them.
            text = f"malformed response ({_kind(error)})"
    return clean(text)


def _kind(error: object) -> str:
    return type(error).__name__
