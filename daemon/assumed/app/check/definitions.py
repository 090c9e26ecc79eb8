"""Definitions that STS or AWS tools do not treat as they are written: durations, region, hooks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from assumed.app.check.inspection import Inspection
from assumed.app.check.sources import limits_roles_to_an_hour
from assumed.aws_files.shadowing import FRESH_SUFFIX, Finding
from assumed.config import loader
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
    if "AWS_CA_BUNDLE" in view.environ:
        return
    users: dict[str, tuple[str, ...]] = {}
    for name, definition in view.enabled.items():
        chosen, _ = view.settings_of(definition)
        users[chosen] = (*users.get(chosen, ()), name)
    for chosen, names in users.items():
        profile = view.files.profiles.get(chosen)
        entry = None if profile is None else profile.entries.get("ca_bundle")
        if entry is None or Path(expand_home(entry.value)).is_file():
            continue
        yield Finding(
            str(entry.location),
            f"profile {chosen}: its ca_bundle {entry.value} is not a file",
            f"no connection for {join_words(names)} is possible",
            "correct the path, or remove ca_bundle",
            profiles=names,
        )


def _regions(view: Inspection) -> Iterator[Finding]:
    """Note the profiles for which nothing says AWS tools the region; one note for all of them."""
    if view.environ.get("AWS_REGION") or view.environ.get("AWS_DEFAULT_REGION"):
        return
    fixes: dict[str, str] = {}
    for name, definition in view.enabled.items():
        own = view.files.profiles.get(name)
        if definition.store is StorageMode.FILE and (own is None or own.value("region") is None):
            fixes[name] = _fix_of_region(view, name, definition)
    if not fixes:
        return
    has = "has" if len(fixes) == 1 else "have"
    yield Finding(
        str(view.files.config),
        f"{join_words(list(fixes))} {has} no region in the AWS config file",
        'commands such as `aws ec2 …` answer "You must specify a region"',
        # `init` does it for several at once.
        "\n  ".join(dict.fromkeys(fixes.values())),
        is_note=True,
        profiles=tuple(fixes),
    )


def _fix_of_region(view: Inspection, name: str, definition: ProfileDefinition) -> str:
    own, original = view.files.profiles.get(name), definition.config_profiles[0]
    role = view.files.profiles.get(original)
    if (
        (own is None or not own.config)
        and name == original + FRESH_SUFFIX
        and role is not None
        and role.value("region") is not None
        and role.value("role_arn") is not None
    ):
        path = view.configuration.path
        is_default = path == loader.places(None, view.environ)[0].absolute()
        chosen = "" if is_default else f" --config {shlex.quote(str(path))}"
        return f"`assumed init --write-aws-config{chosen}`"
    region = _region_of(view, definition)
    return f"`aws configure set region {region} --profile {shlex.quote(name)}`"


def _region_of(view: Inspection, definition: ProfileDefinition) -> str:
    """Return the region that `exec` gives to a command, or else that of a parent, or `REGION`."""
    chosen, settings = view.settings_of(definition)
    region = settings.get("region")
    if region is not None and chosen == definition.config_profiles[0]:
        return str(region)
    link: ProfileDefinition | None = definition
    while link is not None:
        if link.region is not None:
            return link.region
        link = view.configuration.profiles.get(link.parent or "")
    return str(region or "REGION")
