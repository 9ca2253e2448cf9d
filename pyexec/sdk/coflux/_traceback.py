"""Tracebacks as the user's code sees them: without the frames of this package and of the import machinery."""

from __future__ import annotations

import os
import traceback

from coflux import _snapshot

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def text(exc: BaseException) -> str:
    _snapshot.prime_lines(_files(exc, set()))
    found = traceback.TracebackException.from_exception(exc)
    full = "".join(found.format())
    kept = _filter(found, set())
    lines = list(found.format())
    if kept == 0:
        if isinstance(exc, SyntaxError) and exc.filename and exc.lineno:
            code = (exc.text or "").strip()
            lines.insert(0, f'Traceback (most recent call last):\n  File "{exc.filename}", line {exc.lineno}, in <module>\n')
            if code:
                lines.insert(1, f"    {code}\n")
        else:
            return full
    return "".join(lines)


def _filter(found: traceback.TracebackException, seen: set[int]) -> int:
    """Drops foreign frames of the whole chain; returns how many of the exception's own are left."""
    if id(found) in seen:
        return 0
    seen.add(id(found))
    found.stack = traceback.StackSummary.from_list([frame for frame in found.stack if not _foreign(frame.filename)])
    for other in (found.__cause__, found.__context__):
        if other is not None:
            _filter(other, seen)
    return len(found.stack)


def _foreign(filename: str) -> bool:
    return filename.startswith((_HERE, "<frozen importlib", "<frozen runpy"))


def _files(exc: BaseException | None, seen: set[int]) -> set[str]:
    """The files that the exception and those it came from point into."""
    files: set[str] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        tb = exc.__traceback__
        while tb is not None:
            files.add(tb.tb_frame.f_code.co_filename)
            tb = tb.tb_next
        files |= _files(exc.__cause__, seen)
        exc = exc.__context__
    return files
