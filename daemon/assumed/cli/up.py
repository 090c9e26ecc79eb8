"""`assumed up`: the way from the AWS files to a running service, command by command."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click

from assumed.app.program import this_program
from assumed.cli.options import Command, Options, common_options
from assumed.errors import ConfigurationError, UsageError
from assumed.paths import user_name
from assumed.platform.systemd.linger import is_lingering
from assumed.platform.systemd.systemctl import has_systemd

_STEPS = "`assumed init`, `assumed check --live`, `assumed login` and `assumed service install`"


@click.command("up", cls=Command, examples=("assumed up",))
@common_options()
@click.pass_context
def command(context: click.Context, options: Options) -> None:
    """Set up everything, step by step, on a terminal.

    Writes a configuration from the AWS files if there is none, assumes each role once, logs in
    where that is needed, and installs the service. Each step is a command that is shown before it
    runs, and asks first. Run it again to continue where it stopped.
    """
    options.configure_log()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "`assumed up` asks before each step, so it needs a terminal",
            hint=f"without one, run its steps: {_STEPS}",
        )
    context.exit(_Path(options).walk())


class _Path:
    """The steps, each of which is a command of this program."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._program = this_program(sys.argv[0])
        self._common = [] if options.config is None else ["--config", str(options.config)]

    def walk(self) -> int:
        """Run the steps; return the exit status of the one that ends the way."""
        for step in (self._configure, self._check, self._install):
            if (status := step()) != 0:
                click.echo("\nThen run `assumed up` again: it continues here.")
                return status
        return 0

    def _configure(self) -> int:
        _title(1, "The configuration")
        try:
            click.echo(f"{self._options.config_path()}: is there already")
        except ConfigurationError:
            click.echo("There is none yet; `assumed init` writes one from your AWS files.")
        else:
            return 0
        keeps = click.confirm(
            "Keep the names of your role profiles? Otherwise each gets a second name", default=True
        )
        return self._run("init", *(["--adopt"] if keeps else []))

    def _check(self) -> int:
        _title(2, "A call for each role")
        status = self._run("check", "--live")
        if status == ConfigurationError.exit_status:
            return status
        if status and click.confirm(
            "Log in where a login or an MFA code is missing?", default=True
        ):
            self._run("login")
            status = self._run("check", "--live")
        if status and not click.confirm(
            "Some problems remain. Continue? The service retries what it can", default=False
        ):
            return status
        return 0

    def _install(self) -> int:
        _title(3, "The service")
        if not has_systemd():
            click.echo(
                "systemd does not run this machine. Run `assumed run` in a terminal or in tmux: it "
                "refreshes the profiles for as long as it runs."
            )
            return 0
        if not click.confirm("Install and start the service?", default=True):
            click.echo("`assumed run` refreshes the profiles for as long as it runs.")
            return 0
        lingers = not is_lingering(user_name()) and click.confirm(
            "Start it at boot, and keep it running after you log out?", default=False
        )
        status = self._run("service", "install", *(["--linger"] if lingers else []))
        if status == 0:
            click.echo(
                "\nDone. `aws s3 ls --profile NAME` works with each profile of the list; "
                "`assumed status` shows them."
            )
        return status

    def _run(self, *words: str) -> int:
        """Show a command and run it on this terminal; return its exit status."""
        arguments = [*words, *self._common]
        click.secho(f"\n$ {shlex.join(['assumed', *arguments])}", bold=True)
        sys.stdout.flush()
        return subprocess.call([*self._program, *arguments])  # noqa: S603 - this program itself


def _title(number: int, text: str) -> None:
    click.secho(f"\n{number}. {text}", bold=True)
