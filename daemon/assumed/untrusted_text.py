"""Text of other parties made harmless: STS, portals, proxies, other programs, files.

| text | call |
| --- | --- |
| a message that an error, a status or a hook repeats | `clean` |
| an error code of STS, which becomes the label of a metric | `error_code` |
| credentials, before a request is signed with them | `is_credential` |

The exceptions of libraries may quote a header or the body of a response. What may be repeated of
botocore's is decided in `sts.botocore_errors`.
"""

from __future__ import annotations

import re

from assumed.logs.redaction import redact
from assumed.text import printable, truncate

_MAX_CHARACTERS = 2048
# Far more than is kept, so that redaction sees whole secrets.
_MAX_INPUT_CHARACTERS = 1 << 14
_MAX_CREDENTIAL_CHARACTERS = 1 << 16
# A number is the HTTP status that botocore takes for the code of a response that is not STS's.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}|[0-9]{3}")


def clean(text: str) -> str:
    """Return the text of another party in one line, without secrets and control characters.

    It has at most 2,048 characters.
    """
    one_line = " ".join(redact(text[:_MAX_INPUT_CHARACTERS]).split())
    return truncate(printable(one_line), _MAX_CHARACTERS)


def error_code(code: object) -> str:
    """Return an error code of STS, or `Unknown` for anything that does not look like one."""
    text = code if isinstance(code, str) else ""
    return text if _CODE.fullmatch(text) and redact(text) == text else "Unknown"


def is_credential(value: object) -> bool:
    """Return whether a value can be an access key id, a secret key or a token.

    AWS only issues printable ASCII without blanks. Anything else could end a header or a line.
    """
    return (
        isinstance(value, str)
        and 0 < len(value) <= _MAX_CREDENTIAL_CHARACTERS
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )
