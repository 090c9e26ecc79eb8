"""Searches texts for secrets, also encoded and wrapped ones."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus

_MIN_LENGTH = 8
# White space, and the escapes that JSON and `repr` have for it.
_WRAPPING = re.compile(r"(?:\s|\\+[nrt])+")
_CONTEXT = 60


def leaks(text: str, secrets: Iterable[str]) -> list[str]:
    """Return where a text has one of the secrets, without showing it.

    A secret is found as it is, wrapped in lines, URL-encoded, escaped for JSON, or as a part of
    something in base64, also URL-safe. A short one, such as an MFA code, is only found as a word.

    Args:
        text: what a program has logged or printed.
        secrets: none of them may occur.
    """
    wanted = set(secrets)
    short = {secret for secret in wanted if len(secret) < _MIN_LENGTH}
    texts = [text, unquote(text), unquote_plus(text), text.replace("\\/", "/")]
    texts += [_WRAPPING.sub("", each) for each in texts]
    joined = texts[4].replace("-", "+").replace("_", "/")
    found = [
        *(_excerpt(each, secret) for secret in wanted - short for each in texts),
        *(_excerpt(joined, part) for secret in wanted - short for part in _in_base64(secret)),
        *(_excerpt(text, secret, is_word=True) for secret in short),
    ]
    return sorted({excerpt for excerpt in found if excerpt is not None})


def _in_base64(secret: str) -> Iterator[str]:
    """Yield what stands for a secret in base64, by its position in what is encoded."""
    for before in range(3):
        encoded = b64encode(b"\0" * before + secret.encode()).decode()
        whole = (before + len(secret.encode())) * 8 // 6
        yield encoded[-(-before * 8 // 6) : whole]


def _excerpt(text: str, secret: str, *, is_word: bool = False) -> str | None:
    if is_word:
        match = re.search(rf"(?<![\w.]){re.escape(secret)}(?!\w)", text)
        at = -1 if match is None else match.start()
    else:
        at = text.find(secret)
    return None if at < 0 else f"{text[max(0, at - _CONTEXT) : at]}<{len(secret)} characters>"
