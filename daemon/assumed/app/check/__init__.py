"""`assumed check`: what makes a refresh certain to fail, or its result ignored."""

from assumed.app.check.report import CheckReport, find_problems
from assumed.app.check.sources import login_commands

__all__ = ["CheckReport", "find_problems", "login_commands"]
