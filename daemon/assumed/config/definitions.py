"""From validated keys to profile definitions: defaults merged in, sources resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assumed.arn import partition_of
from assumed.config.fields import NO_MFA_SESSION, USER
from assumed.config.schema import SOURCE_KEYS, ConfigurationModel, ProfileModel
from assumed.models import (
    DEFAULT_REFRESH_BEFORE,
    LOGIN_EXPIRY_WARNING,
    Configuration,
    ManagedProfile,
    MfaCode,
    MfaSession,
    ProfileDefinition,
    Source,
    SourceProfile,
    WebIdentity,
)
from assumed.paths import expand_home

_NOT_IN_A_SESSION_NAME = re.compile(r"[^\w+=,.@-]", re.ASCII)
_MAX_SESSION_NAME_CHARACTERS = 64
# What a definition has by the name of its key; the rest describes its source.
_COPIED_KEYS = [
    field.name for field in fields(ProfileDefinition) if field.name in ProfileModel.model_fields
]


def default_session_name(user: str, host: str) -> str:
    """Return `assumed-USER@HOST`, with characters that STS rejects replaced."""
    name = f"assumed-{user}@{host.split('.', maxsplit=1)[0]}"
    return _NOT_IN_A_SESSION_NAME.sub("-", name)[:_MAX_SESSION_NAME_CHARACTERS]


def merge_defaults(model: ConfigurationModel) -> Mapping[str, ProfileModel]:
    """Return the profiles with the defaults filled in.

    A source of the profile replaces the source of the defaults, whichever keys name the two.
    """
    return {name: _merged(model.defaults, profile) for name, profile in model.profiles.items()}


def build_configuration(
    model: ConfigurationModel,
    profiles: Mapping[str, ProfileModel],
    *,
    path: Path,
    user: str,
    host: str,
) -> Configuration:
    """Return the configuration that a valid file describes.

    Args:
        model: the keys of the file.
        profiles: those of the model, with the defaults filled in.
        path: of the file.
        user: for the role session name of profiles without one, and for `{user}`.
        host: likewise for the role session name.
    """
    file, metrics = model.credentials_file, model.metrics
    session_name = default_session_name(user, host)
    return Configuration(
        path=path,
        profiles=MappingProxyType(
            {
                name: _definition(name, profile, profiles, session_name)
                for name, profile in profiles.items()
            }
        ),
        credentials_file=_expanded(file.path),
        write=file.write,
        hooks=MappingProxyType({name: command for name, command in model.hooks if command}),
        metrics_port=metrics.port,
        metrics_textfile=_expanded(metrics.textfile.replace(USER, user)),
    )


def _merged(defaults: ProfileModel, profile: ProfileModel) -> ProfileModel:
    has_source = not profile.model_fields_set.isdisjoint(SOURCE_KEYS)
    return defaults.model_copy(
        update={key: ProfileModel.model_fields[key].default for key in SOURCE_KEYS if has_source}
        | {key: getattr(profile, key) for key in profile.model_fields_set}
    )


def _definition(
    name: str, profile: ProfileModel, profiles: Mapping[str, ProfileModel], session_name: str
) -> ProfileDefinition:
    values: dict[str, Any] = {key: getattr(profile, key) for key in _COPIED_KEYS}
    # An unset text is empty in the model.
    values |= {key: None for key, value in values.items() if value == ""}
    values["role_session_name"] = profile.role_session_name or session_name
    values["tags"] = MappingProxyType(dict(profile.tags))
    settings = _config_profiles(name, profiles)
    source = _source(name, profile, profiles, settings)
    if isinstance(source, MfaCode) and not source.process:
        # The user has to be there: as late as for an MFA session.
        lifetime = timedelta(seconds=profile.duration_seconds)
        is_default = profile.refresh_before == DEFAULT_REFRESH_BEFORE
        if is_default and lifetime * DEFAULT_REFRESH_BEFORE.fraction > LOGIN_EXPIRY_WARNING:
            values["refresh_before"] = LOGIN_EXPIRY_WARNING
    return ProfileDefinition(profile=name, source=source, config_profiles=settings, **values)


def _config_profiles(name: str, profiles: Mapping[str, ProfileModel]) -> tuple[str, ...]:
    """Return the profiles whose settings may apply, in order: its own, those of its sources."""
    found: list[str] = []
    while name in profiles:
        chosen = profiles[name].config_profile
        found.append(chosen or name)
        name = "" if chosen else profiles[name].source_profile
    return (*found, name) if name else tuple(found)


def _source(
    name: str,
    profile: ProfileModel,
    profiles: Mapping[str, ProfileModel],
    settings: tuple[str, ...],
) -> Source:
    if profile.web_identity_token_file:
        return WebIdentity(Path(expand_home(profile.web_identity_token_file)))
    if profile.credential_source is not None:
        return profile.credential_source
    if profile.source_profile in profiles:
        return ManagedProfile(profile.source_profile)
    source = SourceProfile(profile.source_profile)
    if not profile.mfa_serial:
        return source
    if profile.mfa_session == NO_MFA_SESSION:
        return MfaCode(source, profile.mfa_serial, name, profile.mfa_process)
    return MfaSession(
        source,
        profile.mfa_serial,
        profile.mfa_session,
        profile.mfa_process,
        region=profile.region or None,
        config_profiles=settings,
        partition=partition_of(profile.role_arn) if profile.role_arn else None,
    )


def _expanded(path: str) -> Path | None:
    return Path(expand_home(path)) if path else None
