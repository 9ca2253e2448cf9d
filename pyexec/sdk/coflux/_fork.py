"""python -m coflux fork: the template, a process that makes executors out of itself.

A request is one packet on the control socket: the number of the spawn, and the executor's descriptors 0 to 4. The guard is the
executors' parent: it reaps and kills forked executors like the others. Executors are forked as its children where that is
possible (_clone), elsewhere by a process in between, one for all requests that wait, which ends at once, so that the guard, the
next subreaper, becomes the parent. The pid is told when that has happened. An executor says that it is ready and waits for
its job, which the node gives it when the guard knows it; if the guard gives it up the node closes its input, and it ends.

With a snapshot and names of modules it imports these first: its executors find them imported.
"""

from __future__ import annotations

import os
import sys
import time

from coflux import _ahead, _clone
from coflux._channel import Channel, flush_real_streams

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from _socket import socket

_CONTROL = 5
_OWN = 5  # an executor has the descriptors below it
_PROTOCOL = 3  # and those from here on are its channel's, which sub-processes do not get
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_MSG_DONTWAIT = 0x40
_BATCH = 8
_RECORD = 12  # a number and a pid
_MARK = "COFLUX_EXECUTOR"


def main(snapshot: str = "", names: list[str] | None = None) -> int:
    from coflux import _execute

    try:
        template = _Template(snapshot, names or [])
    except _ahead.Unfit as exc:
        _refuse(f"{'its import' if snapshot else 'the start of Python'} {exc}")
    if template.serve():
        code = _execute.main(template.channel)
        flush_real_streams()
        os._exit(code)  # without what the modules want done at exit: it has executed nothing
    os._exit(0)


def _control() -> socket:
    import _socket

    return _socket.socket(fileno=_CONTROL)


def _send(control: socket, message: dict[str, object]) -> None:
    from coflux import _json

    control.send(_json.dumps(message))


def _refuse(why: str) -> None:
    """Ends without waiting for threads; what the module wants cleared away is, before the guard hears of it and kills."""
    import atexit

    atexit._run_exitfuncs()
    _send(_control(), {"refused": why})
    os._exit(0)


class _Template:
    def __init__(self, snapshot: str, names: list[str]) -> None:
        import ctypes
        import gc

        import _socket

        from coflux import _rehearsal

        self._guard = os.getppid()
        self._room = _socket.CMSG_SPACE(8 * 4)
        self._prctl = ctypes.CDLL(None).prctl
        self._prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)  # as it is; the first call costs more
        self._mark = _find_mark()
        _write_mark(self._mark, os.environ[_MARK])  # fails here rather than in every executor
        self._environ: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]
        self._name = os.environ.encodekey(_MARK)
        self._written = (ctypes.c_char * len(os.environ[_MARK])).from_address(self._mark)
        os.set_inheritable(_CONTROL, False)
        self.channel = Channel.from_environment()  # of the executors: their descriptors take the place of these
        _ahead.check()
        own = _clone.libraries()
        self._sibling = _clone.sibling(_rehearsal.RUNS)  # before the modules, whose handlers of forks are not rehearsed
        self._files = _ahead.Files()
        sys.argv[1:] = ["execute"]
        if snapshot:
            self._files = _ahead.load(snapshot, names)
        if not _clone.libraries() <= own or _clone.threads() > 1:
            self._sibling = None
        # Executors look into the user's directories as they are when they look.
        for path in os.environ.get("PYTHONPATH", "").split(os.pathsep):
            sys.path_importer_cache.pop(path, None)
        self._control = _control()
        self._born = os.pipe()
        os.set_blocking(self._born[0], False)
        for _ in range(_rehearsal.RUNS):
            self._take_mark(os.environ[_MARK].encode())
            self._files.open_again()
            _ahead.reseed()
        _rehearsal.rehearse()
        gc.collect()
        self._give_back = _ahead.spare_threading()
        gc.freeze()  # a collection in an executor would copy every page otherwise
        self._highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        _send(self._control, {"ready": True})

    def serve(self) -> bool:
        """True in an executor, False at the end of the template."""
        while True:
            requests = self._requests()
            if not requests:
                return False
            pids = self._fork(requests)
            if pids is None:
                return True
            for number in requests:
                _send(self._control, {"id": number, "pid": pids.get(number, 0)})

    def _requests(self) -> dict[int, list[int]]:
        """The descriptors by number: of the next request, and of those that wait behind it. Empty at the end."""
        from coflux import _json

        requests: dict[int, list[int]] = {}
        while len(requests) < _BATCH:
            try:
                data, ancillary, _, _ = self._control.recvmsg(4096, self._room, _MSG_DONTWAIT if requests else 0)
            except BlockingIOError:
                break
            if not data:
                return {}  # what it still holds ends with it
            requests[_json.loads(data)["id"]] = _descriptors(ancillary)
        return requests

    def _fork(self, requests: dict[int, list[int]]) -> dict[int, int] | None:
        """The pids of new executors by their numbers, None in an executor."""
        pids = self._fork_between(requests) if self._sibling is None else self._fork_siblings(self._sibling, requests)
        if pids is not None:
            for fds in requests.values():
                for fd in fds:
                    os.close(fd)
        return pids

    def _fork_siblings(self, fork: Callable[[], int], requests: dict[int, list[int]]) -> dict[int, int] | None:
        pids = {}
        for number, fds in requests.items():
            if len(fds) != _OWN:
                continue
            executor = fork()
            if executor == 0:
                try:
                    self._become(number, requests, 0)
                    return None
                except BaseException:
                    os._exit(1)
            if executor < 0:
                break  # as below
            pids[number] = executor
        return pids

    def _fork_between(self, requests: dict[int, list[int]]) -> dict[int, int] | None:
        """The pids of new executors by their numbers, None in an executor."""
        between = -1
        try:
            between = os.fork()
        except OSError:
            pass  # the limit of processes, or no memory: the guard tries it in its way and tells why that fails
        if between == 0:
            try:
                between = os.getpid()
                number = self._fork_each(requests)
                if number is None:
                    os._exit(0)
                self._become(number, requests, between)
                return None
            except BaseException:
                os._exit(1)
        if between < 0:
            return {}
        status = os.waitpid(between, 0)[1]
        if os.WIFSIGNALED(status):  # it did not tell of all that it forked
            raise SystemExit(f"a process that it forked was killed by signal {os.WTERMSIG(status)}")
        pids = {}
        try:
            while record := os.read(self._born[0], _RECORD):
                pids[int.from_bytes(record[:8], "little")] = int.from_bytes(record[8:], "little")
        except BlockingIOError:
            pass  # that were all
        return pids

    def _fork_each(self, requests: dict[int, list[int]]) -> int | None:
        """Forks the executors; their numbers in them, None in the process in between."""
        for number, fds in requests.items():
            if len(fds) != _OWN:
                continue
            executor = os.fork()
            if executor == 0:
                return number
            os.setpgid(executor, executor)
            os.write(self._born[1], number.to_bytes(8, "little") + executor.to_bytes(4, "little"))
        return None

    def _become(self, number: int, requests: dict[int, list[int]], between: int) -> None:
        self._give_back()
        fds = requests[number]
        highest = max(self._highest, *(fd for fds in requests.values() for fd in fds))
        for own, fd in enumerate(fds):
            os.dup2(fd, own, own < _PROTOCOL)
        self.channel.pid = os.getpid()
        self._control.detach()
        low = _OWN
        for fd in sorted(self._files.kept):
            os.closerange(low, fd)
            low = fd + 1
        os.closerange(low, highest + 1)
        self._files.open_again()
        _ahead.reseed()
        mark = f"{number:020d}"
        self._take_mark(mark.encode())
        while between and os.getppid() == between:
            time.sleep(0.0002)
        # Only now, because it is also sent when a process gets a new parent.
        if self._prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) != 0 or os.getppid() != self._guard:
            os._exit(1)

    def _take_mark(self, mark: bytes) -> None:
        """For the kernel, and for libc whose environment is the same memory; os.environ has a copy."""
        self._written.raw = mark
        self._environ[self._name] = mark


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for _, _, data in ancillary:
        fds += [int.from_bytes(data[i : i + 4], sys.byteorder) for i in range(0, len(data) - 3, 4)]
    return fds


def _find_mark() -> int:
    """Where the kernel finds the value of COFLUX_EXECUTOR when it shows /proc/PID/environ.

    A fork has the template's: orphans of an executor that did not exec would be taken for the template's.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin, end = int(fields[47]), int(fields[48])
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        block = b"\0" + os.pread(memory, end - begin, begin)
    finally:
        os.close(memory)
    name = f"\0{_MARK}=".encode()
    return begin - 1 + block.index(name) + len(name)


def _write_mark(address: int, mark: str) -> None:
    memory = os.open("/proc/self/mem", os.O_WRONLY)
    try:
        os.pwrite(memory, mark.encode(), address)
    finally:
        os.close(memory)
