"""The pipe to the engine: the one file that touches it."""

from __future__ import annotations

import os
import sys
from _thread import RLock, allocate_lock  # threading would cost every process a millisecond

from coflux import _json

TYPE_CHECKING = False

if TYPE_CHECKING:
    from _thread import LockType
    from typing import Any


class RequestFailed(Exception):
    """The engine refused a request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")


class Channel:
    """Sends whole lines and matches replies by id; any thread may use it.

    A sender holds _write for one line. A finaliser or a signal handler may want to send in the middle of that, on the same
    thread; its lines wait in _later. Of the threads that wait for replies one reads and wakes the others after each
    line; _state guards what they share.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._in = os.fdopen(read_fd, "rb", 65536)
        self._out = write_fd
        self._write = RLock()
        self._writing = False
        self._later: list[bytes] = []
        self._state = allocate_lock()
        self._reading = False
        self._sleepers: list[LockType] = []
        self._replies: dict[Any, dict[str, Any]] = {}
        self._last = 0
        self.pid = os.getpid()

    @classmethod
    def from_environment(cls) -> Channel:
        """The descriptors named by COFLUX_PROTOCOL_FD as "read,write", else stdin and stdout.

        In the second case what is written to descriptor 1 later goes to stderr, so that it cannot break the protocol.
        """
        named = os.environ.pop("COFLUX_PROTOCOL_FD", "")
        if named:
            read_fd, write_fd = (int(part) for part in named.split(","))
        else:
            read_fd, write_fd = os.dup(0), os.dup(1)
            os.dup2(2, 1)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
        os.set_inheritable(read_fd, False)
        os.set_inheritable(write_fd, False)
        return cls(read_fd, write_fd)

    def close(self) -> None:
        """Closes what is read from; the other descriptor is the caller's."""
        self._in.close()

    def say(self, line: bytes) -> None:
        """Sends a line that is ready, before anything else is sent."""
        self._write_all(line)

    def notify(self, method: str, params: dict[str, object]) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: dict[str, object]) -> int:
        """Sends a request and returns its id at once."""
        with self._write:
            self._last += 1
            number = self._last
            self._write_line({"id": number, "method": method, "params": params})
        return number

    def wait(self, number: int) -> object:
        """The result of the request; replies to others that arrive meanwhile are kept."""
        while True:
            sleeper = None
            with self._state:
                if number in self._replies:
                    reply = self._replies.pop(number)
                    break
                if self._reading:
                    sleeper = allocate_lock()
                    sleeper.acquire()
                    self._sleepers.append(sleeper)
                self._reading = True
            if sleeper is not None:
                sleeper.acquire()
            elif not self._read():
                raise RuntimeError("Connection closed while waiting for response")
        if reply.get("error"):
            raise RequestFailed(reply["error"].get("code", "error"), reply["error"].get("message", ""))
        return reply.get("result")

    def command(self) -> dict[str, Any] | None:
        """The next line as an object; None at the end of the stream."""
        line = self._in.readline()
        return _json.loads(line) if line else None

    def _read(self) -> bool:
        """Takes one reply in; False at the end of the stream."""
        line = b""
        try:
            line = self._in.readline()
        finally:
            with self._state:
                self._reading = False
                sleepers, self._sleepers = self._sleepers, []
                if line:
                    reply = _json.loads(line)
                    self._replies[reply.get("id")] = reply
                for sleeper in sleepers:
                    sleeper.release()
        if line and "id" not in reply:
            raise RuntimeError("Unexpected message while waiting for response")
        return bool(line)

    def drain(self) -> None:
        """Reads until the engine closes the stream."""
        while True:
            try:
                self.wait(0)  # no request has this number
            except RuntimeError:
                return

    def _send(self, message: dict[str, object]) -> None:
        with self._write:
            self._write_line(message)

    def _write_line(self, message: dict[str, object]) -> None:
        line = _json.dumps(message) + b"\n"
        if self._writing:
            self._later.append(line)
            return
        self._writing = True
        try:
            self._write_all(line)
            while self._later:
                self._write_all(self._later.pop(0))
        finally:
            self._writing = False

    def _write_all(self, data: bytes) -> None:
        written = os.write(self._out, data)
        while written < len(data):
            written += os.write(self._out, data[written : written + 1048576])


def flush_real_streams() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
