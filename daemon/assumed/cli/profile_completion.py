"""Completion of profile names in a shell."""

from __future__ import annotations

import os

import click

from assumed.config import loader
from assumed.errors import AssumedError


def complete_profile(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the profiles that begin with `incomplete` and are not on the command line yet."""
    try:
        path = loader.find(context.params.get("config"), os.environ)
        profiles = loader.load(path, user="me", host="here").profiles
    except AssumedError:
        return []
    typed = context.params.get(parameter.name or "") if parameter.nargs == -1 else ()
    return [name for name in profiles if name.startswith(incomplete) and name not in (typed or ())]
