"""`assumed demo`: the whole story on this machine, with no AWS account."""

from __future__ import annotations

import click

from assumed.cli.options import Options, common_options


@click.command("demo")
@common_options
@click.pass_context
def command(context: click.Context, options: Options) -> None:
    """Tell the whole story on this machine, with no AWS account, in under a minute.

    An embedded STS, IAM and S3 play AWS; nothing of yours is read or written.

    Example: assumed demo
    """
    from assumed.demo.walkthrough import run_demo  # noqa: PLC0415 - moto takes seconds to import

    options.configure_log(level="error")
    context.exit(0 if run_demo(click.echo) else 1)
