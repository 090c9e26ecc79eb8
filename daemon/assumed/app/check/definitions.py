"""Definitions that STS or AWS tools do not treat as they are written: durations, region, hooks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from assumed.app.check.inspection import Inspection, source_profile_of
from assumed.app.check.sources import limits_roles_to_an_hour
from assumed.aws_files.shadowing import Finding
from assumed.config.fields import MAX_CHAINED_SECONDS
from assumed.models import ManagedProfile, MfaSession, ProfileDefinition, StorageMode
from assumed.paths import expand_home
from assumed.text import duration_literal, join_words


def find_definition_problems(view: Inspection) -> Iterator[Finding]:
    """Yield what is wrong with definitions that are valid by themselves."""
    for name, definition in view.enabled.items():
        yield from _duration(view, name, definition)
        yield from _refresh_before(view, name, definition)
    yield from _hooks(view)
    yield from _ca_bundles(view)
    yield from _regions(view)


def _duration(view: Inspection, name: str, definition: ProfileDefinition) -> Iterator[Finding]:
    source = definition.source
    if definition.duration_seconds <= MAX_CHAINED_SECONDS or isinstance(source, ManagedProfile):
        return
    reason = limits_roles_to_an_hour(view, source)
    if reason is None:
        return
    instead = (
        "or set `mfa_session: none`: the code then goes with AssumeRole itself, one code a session"
        if isinstance(source, MfaSession)
        else "or use a source with long-term keys"
    )
    requested = duration_literal(timedelta(seconds=definition.duration_seconds))
    yield Finding(
        view.keys.of_profile(name, "duration_seconds"),
        f"profile {name}: sessions of {requested} are not issued: {reason}",
        "each session lasts an hour",
        f"set `duration_seconds: 1h`, {instead}",
        is_note=True,
        profiles=(name,),
    )


def _refresh_before(
    view: Inspection, name: str, definition: ProfileDefinition
) -> Iterator[Finding]:
    before = definition.refresh_before
    lifetime = timedelta(seconds=definition.duration_seconds)
    if not isinstance(before, timedelta) or before <= lifetime / 2:
        return
    yield Finding(
        view.keys.of_profile(name, "refresh_before"),
        f"profile {name}: refresh_before of {duration_literal(before)} is more than half of a "
        f"session of {duration_literal(lifetime)}",
        f"it is refreshed {duration_literal(lifetime / 2)} before its expiration",
        f"lower refresh_before to {duration_literal(lifetime / 2)}, or raise duration_seconds",
        is_note=True,
        profiles=(name,),
    )


def _hooks(view: Inspection) -> Iterator[Finding]:
    for hook, command in view.configuration.hooks.items():
        reason = view.problem_of_command(command[0])
        if reason is not None:
            yield Finding(
                view.keys.of(("hooks", hook)),
                f"{hook}: {command[0]} {reason}",
                "the daemon logs hook_failed each time, and runs nothing",
                "install it, write its absolute path, or remove the hook",
            )


def _ca_bundles(view: Inspection) -> Iterator[Finding]:
    for source, users in view.users_by_source().items():
        profile = view.files.profiles.get(source_profile_of(source) or "")
        entry = None if profile is None else profile.entries.get("ca_bundle")
        if profile is None or entry is None or Path(expand_home(entry.value)).is_file():
            continue
        if "AWS_CA_BUNDLE" in view.environ:
            continue
        yield Finding(
            str(entry.location),
            f"profile {profile.name}: its ca_bundle {entry.value} is not a file",
            f"no connection for {join_words(users)} is possible",
            "correct the path, or remove ca_bundle",
            profiles=users,
        )


def _regions(view: Inspection) -> Iterator[Finding]:
    """Note the profiles for which nothing says AWS tools the region; one note for all of them."""
    if view.environ.get("AWS_REGION") or view.environ.get("AWS_DEFAULT_REGION"):
        return
    regions: dict[str, str] = {}
    for name, definition in view.enabled.items():
        own = view.files.profiles.get(name)
        if definition.store is StorageMode.FILE and (own is None or own.value("region") is None):
            regions[name] = _region_of(view, definition)
    if not regions:
        return
    commands = [
        f"`aws configure set region {region} --profile {shlex.quote(name)}`"
        for name, region in regions.items()
    ]
    has = "has" if len(regions) == 1 else "have"
    yield Finding(
        str(view.files.config),
        f"{join_words(list(regions))} {has} no region in the AWS config file",
        'commands such as `aws ec2 …` answer "You must specify a region"',
        "\n  ".join(commands),
        is_note=True,
        profiles=tuple(regions),
    )


def _region_of(view: Inspection, definition: ProfileDefinition) -> str:
    definitions = view.configuration.profiles
    seen: set[str] = set()
    while definition.region is None and isinstance(definition.source, ManagedProfile):
        if definition.profile in seen:
            break
        seen.add(definition.profile)
        definition = definitions[definition.source.name]
    if definition.region is not None:
        return definition.region
    source = definition.source
    name = None if isinstance(source, ManagedProfile) else source_profile_of(source)
    profile = view.files.profiles.get(name or "")
    return (None if profile is None else profile.value("region")) or "REGION"
