"""Whether someone is logged in: the tokens that `aws sso login` and `aws login` have cached.

Sources: botocore/utils.py, `SSOTokenLoader` and `LoginTokenLoader`, for the names of the files;
botocore/tokens.py, `SSOTokenProvider`, for when it refreshes a token by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assumed.credential_sources.aws_files_snapshot import read_aws_file
from assumed.paths import login_cache_directory

_REFRESH_KEYS = ("refreshToken", "clientId", "clientSecret", "registrationExpiresAt")


def sso_login_problem(
    environ: Mapping[str, str], *, session: str | None, start_url: str, now: datetime
) -> str | None:
    """Return what is wrong with an SSO login, such as `has expired`; None if it can be used.

    Args:
        environ: leads to the cache.
        session: the `sso_session` of the profile; None if it has none.
        start_url: its `sso_start_url`.
        now: aware UTC.
    """
    key = hashlib.sha1((session or start_url).encode(), usedforsecurity=False).hexdigest()
    token = _cached(Path(login_cache_directory(environ, "sso"), f"{key}.json"))
    if token is None:
        return "is missing"
    expires_at = _moment(token.get("expiresAt"))
    if "accessToken" not in token or expires_at is None:
        return "cannot be read"
    if expires_at > now:
        return None
    registered_until = _moment(token.get("registrationExpiresAt"))
    is_refreshed = (
        session is not None
        and all(key in token for key in _REFRESH_KEYS)
        and registered_until is not None
        and registered_until > now
    )
    return None if is_refreshed else f"has expired at {expires_at:%Y-%m-%d %H:%M} UTC"


def login_problem(environ: Mapping[str, str], login_session: str) -> str | None:
    """Return what is wrong with a login of `aws login`; None if one is cached."""
    key = hashlib.sha256(login_session.encode()).hexdigest()
    token = _cached(Path(login_cache_directory(environ, "login"), f"{key}.json"))
    return "is missing" if token is None else None


def _cached(path: Path) -> Mapping[str, Any] | None:
    try:
        data = read_aws_file(path)
        found = json.loads(data) if data else None
    except (OSError, ValueError, RecursionError):
        # It exists; a refresh reports why it cannot be read.
        return {}
    return found if found is None or isinstance(found, dict) else {}


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text).replace("UTC", "Z"))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
