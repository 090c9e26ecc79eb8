"""`assumed demo`: a walkthrough that needs no AWS account."""

from __future__ import annotations

import click

from assumed.cli.options import Command, Options, common_options


@click.command("demo", cls=Command, examples=("assumed demo",))
@common_options(config_help=None)
@click.pass_context
def command(context: click.Context, options: Options) -> None:
    """Run a walkthrough on a local AWS; no account needed.

    Takes less than a minute. STS, IAM and S3 run on this machine; your AWS files are neither read
    nor changed.
    """
    from assumed.demo.walkthrough import run_demo  # noqa: PLC0415 - moto takes seconds to import

    options.configure_log()
    context.exit(0 if run_demo(click.echo) else 1)
