"""Redaction of secrets in text that is logged or printed."""

from __future__ import annotations

import re

_SECRETS = re.compile(
    r"""
    # The value of a field that AWS uses for a secret, in INI, JSON, XML, a URL or a sentence.
    (?P<name>(?<!</)(?i:
        secret[_-]?access[_-]?key | secret\ access\ key
        | (?:session|security|access|refresh|id|bearer)[-_]?token | session\ token
        | client[-_]?secret | (?:proxy-)?authorization
      )["']?\s*[:=>]\s*(?:<!\[CDATA\[)?["']?)
      (?:(?i:bearer|basic|aws4-hmac-sha256)\ +)?(?:\\/|[^\s"'<,&}\\])+
    # What follows the scheme of an Authorization header.
    | (?P<scheme>\b[Bb]earer\ +)[\w.~+/-]{6,}=*
    # 40 characters with both cases and a digit, as in secret access keys.
    | (?<![\w/+.-])(?=[A-Z0-9/+]*[a-z])(?=[a-z0-9/+]*[A-Z])(?=[A-Za-z/+]*[0-9])
      [A-Za-z0-9/+]{40}(?![\w/+=.-])
    # A JSON Web Token, as identity providers issue them.
    | (?<![\w.-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    # A session token of STS, whatever its length: it begins with its version.
    | (?<![\w/+.-])(?:IQoJ|FwoG|FQoG)[\w/+-]{28,}(?:\s+[\w/+-]{20,})*={0,2}
    # A long base64 word, as in session tokens; also URL-safe.
    | (?<![\w/+.-])(?:[A-Za-z0-9/+]{120,}|[A-Za-z0-9_-]{120,})={0,2}(?![\w/+=.-])
    # The same in lines of equal length, as `base64` and PEM wrap it.
    | (?<![\w/+.-])[A-Za-z0-9/+_-]{64,76}(?:(?:\s|\\[rn])+[A-Za-z0-9/+_-]{64,76})+
      (?:(?:\s|\\[rn])+[A-Za-z0-9/+_-]{1,76}={0,2})?(?![\w/+.-])
    """,
    re.VERBOSE,
)


def redact(text: str) -> str:
    """Return `text` with everything that looks like an AWS secret replaced by `[redacted]`."""
    return _SECRETS.sub(lambda found: f"{found['name'] or found['scheme'] or ''}[redacted]", text)
