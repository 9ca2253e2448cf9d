"""sys.stdout and sys.stderr of a body: complete lines become messages, in order with everything else it says.

What does not go through these objects (sub-processes, C code, writes to the descriptors) is captured by the engine at
descriptors 1 and 2.
"""

from __future__ import annotations

import io
import os
import sys
from _thread import RLock

from coflux._context import Context

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

# A line without end is cut here.
LINE_LIMIT = 65536


_outputs: list["Output"] = []


def install(context: Context | None) -> None:
    """Puts the objects into sys; None in a template, whose executors give them their context: modules may have kept them."""
    if _outputs:
        for output in _outputs:
            output._context = context
        return
    out, err = Output(context, 1, sys.__stdout__), Output(context, 3, sys.__stderr__)  # type: ignore[arg-type]
    sys.stdout, sys.stderr = out, err
    _outputs[:] = [out, err]


class Output(io.TextIOBase):
    def __init__(self, context: Context | None, level: int, real: TextIO) -> None:
        self._context = context
        self._level = level
        self._real = real
        self._lock = RLock()
        self._rest = ""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None

    @property
    def buffer(self) -> BinaryIO:
        return self._real.buffer

    def fileno(self) -> int:
        return self._real.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._context is None or self._context.over or os.getpid() != self._context.channel.pid:
            return self._write_raw(text)
        with self._lock:
            lines = (self._rest + text).split("\n")
            self._rest = lines.pop()
            for line in lines:
                self._emit(line)
            if len(self._rest) >= LINE_LIMIT:
                whole = len(self._rest) // LINE_LIMIT * LINE_LIMIT
                self._emit(self._rest[:whole])
                self._rest = self._rest[whole:]
        return len(text)

    def flush(self) -> None:
        if self._context is not None and os.getpid() == self._context.channel.pid:
            with self._lock:
                rest, self._rest = self._rest, ""
                self._emit(rest)
        if not self._real.closed:
            self._real.flush()

    def close(self) -> None:
        self.flush()

    def _emit(self, line: str) -> None:
        line, context = line.rstrip("\r"), self._context
        assert context is not None  # the callers have looked
        for start in range(0, len(line), LINE_LIMIT):
            context.log(self._level, line[start : start + LINE_LIMIT], {})

    def _write_raw(self, text: str) -> int:
        # Exit handlers, and children forked by user code: these lines go the way of any sub-process's.
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._real.fileno(), data) :]
        return len(text)
