"""What the log says in words of a profile that goes on failing."""

from __future__ import annotations

from datetime import datetime, timedelta

from assumed.logs import timestamp

_SHORT = timedelta(minutes=2)
_LONG = timedelta(hours=2)


def still_failing(attempts: int, since: datetime, left: timedelta | None) -> str:
    """Return the summary of repeated failures, such as `still failing: 8 tries since …`.

    Args:
        attempts: how many refreshes have failed in a row.
        since: the first of them; aware UTC.
        left: of the session's lifetime, negative where it has ended; None where there is none.
    """
    if left is None:
        end = "no session yet"
    elif left > timedelta(0):
        end = f"expires in {_span(left)}"
    else:
        end = f"expired {_span(-left)} ago"
    tries = "1 try" if attempts == 1 else f"{attempts} tries"
    return f"still failing: {tries} since {timestamp(since)}, {end}"


def _span(span: timedelta) -> str:
    if span < _SHORT:
        return f"{int(span.total_seconds())} s"
    minutes = span // timedelta(minutes=1)
    return f"{minutes} min" if span < _LONG else f"{minutes // 60} h {minutes % 60:02} min"
