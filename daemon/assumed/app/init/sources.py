"""What the source of a profile can do: whether anyone can log in to it, and for how long."""

from __future__ import annotations

from assumed.app.init.draft import DraftDefinition
from assumed.aws_files.ownership import LONG_TERM_KEYS
from assumed.aws_files.profiles import AwsFiles, AwsProfile
from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore
from assumed.config.fields import MAX_CHAINED_SECONDS, truncate_for_display
from assumed.text import join_words

_SSO_KEYS = ("sso_start_url", "sso_region", "sso_account_id", "sso_role_name")
_CHAINED = "STS limits sessions to an hour"
_TEMPORARY_KINDS = {
    CredentialKind.SSO: f"from the session of an SSO login, {_CHAINED}",
    CredentialKind.LOGIN: f"from the session of `aws login`, {_CHAINED}",
    CredentialKind.WEB_IDENTITY: f"with role chaining, {_CHAINED}",
}


def source_problem(profile: AwsProfile, files: AwsFiles) -> str | None:
    """Return why no AWS tool finds credentials with a profile; None if it can have some.

    A login that has expired, and a process that fails, are no such reason.
    """
    kind = used_by_botocore(profile).kind
    if kind is CredentialKind.SSO:
        return _login_problem(profile, files)
    if kind is CredentialKind.BROKEN:
        return (
            "a role_arn requires exactly one of source_profile, credential_source and "
            "web_identity_token_file, and a token file requires a role_arn"
        )
    entries = profile.credentials if profile.has_stored_keys else profile.entries
    has_one = [key in entries for key in LONG_TERM_KEYS]
    if kind in {CredentialKind.KEYS, CredentialKind.NOTHING} and any(has_one) and not all(has_one):
        return f"it has only one of {join_words(LONG_TERM_KEYS)}"
    return "it has no credentials" if kind is CredentialKind.NOTHING else None


def _login_problem(profile: AwsProfile, files: AwsFiles) -> str | None:
    """Return why no tool can use the SSO login of a profile; None if one can.

    Source: botocore/credentials.py, `SSOProvider._load_sso_config`.
    """
    found = {key: entry.value for key, entry in profile.entries.items()}
    name = found.get("sso_session")
    if name is not None:
        if name not in files.sso_sessions:
            return f"there is no [sso-session {truncate_for_display(name)}] in {files.config}"
        for key, entry in files.sso_sessions[name].items():
            if found.setdefault(key, entry.value) != entry.value:
                return f"its {key} contradicts that of [sso-session {name}] ({entry.location})"
    missing = [key for key in _SSO_KEYS if key not in found]
    return f"its SSO login has no {join_words(missing)}" if missing else None


def limit_duration(draft: DraftDefinition, files: AwsFiles) -> None:
    """Remove a duration that AWS tools ignore, or that STS does not give, and note the reason."""
    text = draft.text("duration_seconds")
    if not text:
        return
    try:
        seconds = int(text)
    except ValueError:
        reason = "it is not a number, so the AWS tools ignore it"
    else:
        draft.keys["duration_seconds"] = str(seconds)
        limit = _limit(draft, files)
        if seconds <= MAX_CHAINED_SECONDS or limit is None:
            return
        reason = limit
    del draft.keys["duration_seconds"]
    draft.notes.append(f"duration_seconds = {text} is not copied: {reason}.")


def _limit(draft: DraftDefinition, files: AwsFiles) -> str | None:
    """Return why sessions of a definition last an hour at most; None if they need not."""
    if draft.parent is not None:
        return f"with role chaining, {_CHAINED}"
    if draft.text("credential_source") in {"Ec2InstanceMetadata", "EcsContainer"}:
        return f"from the role of this machine, which is role chaining, {_CHAINED}"
    if "mfa_serial" in draft.keys:
        return (
            f"from the session that an MFA code starts, {_CHAINED}. For up to 12h, send a code "
            "with each AssumeRole call: `mfa_session: none`"
        )
    source = files.profiles.get(draft.text("source_profile"))
    if source is None:
        return None
    kind = used_by_botocore(source).kind
    if kind is CredentialKind.KEYS and source.value("aws_session_token"):
        return f"from keys that are temporary themselves, {_CHAINED}"
    return _TEMPORARY_KINDS.get(kind)
