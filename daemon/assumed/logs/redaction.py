"""Redaction of secrets in text that is logged or printed."""

from __future__ import annotations

import re

_SECRETS = re.compile(
    r"""
    # The value of a field that AWS uses for a secret, in INI, JSON, XML or a URL.
    (?P<name>(?<!</)(?i:secret_?access_?key|(?:session|security)[-_]?token)["']?\s*[:=>]\s*["']?)
      (?:\\/|[^\s"'<,&}\\])+
    # 40 characters with both cases and a digit, as in secret access keys.
    | (?<![\w/+.-])(?=[A-Z0-9/+]*[a-z])(?=[a-z0-9/+]*[A-Z])(?=[A-Za-z/+]*[0-9])
      [A-Za-z0-9/+]{40}(?![\w/+=.-])
    # A JSON Web Token, as identity providers issue them.
    | (?<![\w.-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    # A long base64 word, as in session tokens.
    | (?<![\w/+.-])[A-Za-z0-9/+]{120,}={0,2}(?![\w/+=.-])
    """,
    re.VERBOSE,
)


def redact(text: str) -> str:
    """Return `text` with everything that looks like an AWS secret replaced by `[redacted]`."""
    return _SECRETS.sub(lambda found: f"{found['name'] or ''}[redacted]", text)
