"""`assumed check`: what makes a refresh certain to fail, or its result ignored."""

from assumed.app.check.report import CheckReport, find_problems

__all__ = ["CheckReport", "find_problems"]
