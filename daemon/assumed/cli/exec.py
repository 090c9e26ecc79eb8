"""`assumed exec`: a command with credentials that stay fresh while it runs."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import click

from assumed.app.program import this_program
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options, retry_timeout_option
from assumed.cli.profile_completion import complete_profile


class _ExecCommand(Command):
    """`exec`, whose options end where CMD begins: all words from there on are those of CMD."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse `[PROFILE] [OPTIONS] [--] CMD`; a CMD right after `--` is for $AWS_PROFILE."""
        if ctx.resilient_parsing:  # for completion
            return super().parse_args(ctx, args)
        options, words = self._split(ctx, args)
        profile = os.environ.get("AWS_PROFILE")
        if words and options[-1:] != ["--"]:
            profile, (more, words) = words[0], self._split(ctx, words[1:])
            options += more
        if options[-1:] == ["--"]:
            options.pop()
        return super().parse_args(ctx, [*options, "--", *([profile, *words] if profile else [])])

    def _split(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]]:
        """Return the options in front, up to a `--`, and the words after them."""
        options = [each for each in self.params if isinstance(each, click.Option)]
        parser = click.Command(self.name, params=list(options)).make_parser(ctx)
        parser.allow_interspersed_args = False
        _, words, _ = parser.parse_args(list(args))
        return args[: len(args) - len(words)], words


@click.command(
    "exec",
    cls=_ExecCommand,
    examples=(
        "assumed exec deploy",
        "assumed exec deploy -- aws s3 ls",
        "assumed exec deploy --env -- ./upload.sh",
    ),
)
@click.argument("profile", required=False, shell_complete=complete_profile)
@click.argument("command_line", nargs=-1, metavar="[-- CMD [ARGUMENT]...]")
@click.option(
    "--env",
    "static",
    is_flag=True,
    help="Pass plain AWS_* keys of one session, which is not refreshed.",
)
@retry_timeout_option
@common_options(log_level="warning")
def command(
    options: Options,
    profile: str | None,
    command_line: tuple[str, ...],
    *,
    static: bool,
    timeout: timedelta,
) -> None:
    """Run a command with credentials that stay fresh.

    Without CMD, runs $SHELL. Without PROFILE, uses $AWS_PROFILE.

    The AWS SDKs in CMD refresh the credentials of PROFILE themselves. CMD sees the settings of
    that profile only, and no other credentials. The daemon provides the credentials. Without a
    daemon, a background process provides them until CMD ends.

    Exits with the status of CMD; 127 if CMD is not found, 126 if it cannot be executed.
    """
    from assumed.app.exec import ExecEnvironment  # noqa: PLC0415 - boto3 is slow to import

    if profile is None:
        raise click.UsageError("Missing argument PROFILE: name it, or set AWS_PROFILE.")
    options.configure_log()
    daemon = connect_to_daemon(options)
    ExecEnvironment(profile, os.environ, static=static, timeout=timeout).exec(
        command_line or (os.environ.get("SHELL") or "/bin/sh",),
        daemon=daemon,
        config_path=options.config_path() if daemon is None else None,
        program=this_program(sys.argv[0]),
        options=() if options.config is None else ("--config", str(options.config_path())),
    )
