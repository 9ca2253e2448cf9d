"""group, suspense, suspend, select, cancel."""

from __future__ import annotations

import sys

from coflux import _context, _handles
from coflux._options import milliseconds

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Token
    from datetime import datetime
    from typing import Any, NoReturn, TypeVar

    from coflux._handles import Handle
    from coflux._options import Duration

    H = TypeVar("H", bound=Handle[Any])


class group:
    """Everything submitted inside belongs together when the run is shown."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._tokens: list[Token[int | None]] = []

    def __enter__(self) -> None:
        number = _context.current().open_group(self._name)
        self._tokens.append(_context.group_id.set(number))

    def __exit__(self, *exc_info: object) -> None:
        _context.group_id.reset(self._tokens.pop())


class suspense:
    """Inside, a wait that finds nothing within timeout seconds (None: at once) suspends the execution.

    The process is ended, and the function is called again from its beginning once what it waited for is there. So what it
    does before the wait should be safe to repeat, and what it submits memoised or cached.
    """

    def __init__(self, timeout: Duration | None = None) -> None:
        self._timeout_ms = milliseconds("timeout", timeout)
        self._tokens: list[Token[int | None]] = []

    def __enter__(self) -> None:
        _context.current()
        self._tokens.append(_context.patience.set(self._timeout_ms))

    def __exit__(self, *exc_info: object) -> None:
        _context.patience.reset(self._tokens.pop())


def suspend(delay: Duration | datetime | None = None) -> NoReturn:
    """Ends this execution now and has the function called again from its beginning, in a new attempt.

    delay: seconds, a timedelta, or the datetime (without a time zone: local time) before which it does not start.
    """
    context = _context.current()
    execute_after = after = None
    if "datetime" in sys.modules and isinstance(delay, sys.modules["datetime"].datetime):
        execute_after = int(delay.timestamp() * 1000)
    elif delay is not None:
        if isinstance(delay, (int, float)):
            delay = max(delay, 0)
        after = milliseconds("delay", delay)
        if after:
            import time

            execute_after = int(time.time() * 1000) + after
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    context.suspend(execute_after, after or None)


def select(handles: Sequence[H], *, cancel_remaining: bool = False) -> tuple[H, list[H]]:
    """Waits for the first of the handles that is over; returns it and the others.

    Of several that are over the first in the sequence wins. Its result() then returns or raises at once.
    cancel_remaining: cancels the executions among the others that are not over.
    """
    context = _context.current()
    handles = list(handles)
    if not handles:
        raise ValueError("select requires at least one handle")
    found = context.select(_handles.keys(handles), _context.patience.get(), True, cancel_remaining)
    if found is None:
        raise TimeoutError("the wait ended without an outcome")
    winner = found[0]
    return handles[winner], handles[:winner] + handles[winner + 1 :]


def cancel(handles: Sequence[Handle[Any]]) -> None:
    """Cancels all of them in one step; those that are over are skipped."""
    context = _context.current()
    context.cancel(_handles.keys(list(handles)))
