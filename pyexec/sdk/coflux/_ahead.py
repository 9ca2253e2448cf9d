"""Imports modules in a template, and says what of them would not be the same in processes that are forked from it.

Memory is copied. What a module makes beside it when it is imported would be shared by all executions: files are opened
again for each; for anything else the module is unfit, and executions import it themselves.
"""

from __future__ import annotations

import gc
import os
import stat
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = type(lambda: None)

_SHAREABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_GPUS = ("/dev/nvidia", "/dev/kfd")


class Unfit(Exception):
    """Why a process must not be forked: what its import does, in the words of a sentence after that."""


class Files:
    """Open files of the template that executors get too, each for itself: with a position of its own."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[int, bool] | None] = {}  # descriptor -> flags and inheritability; None = as it is

    def keep(self, fd: int) -> None:
        link = os.readlink(f"/proc/self/fd/{fd}")
        if link.startswith(_GPUS):
            raise Unfit("uses a GPU")
        if link in _SHAREABLE:
            self.kept[fd] = None
            return
        kind = os.fstat(fd).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise Unfit(f"opens {_named(link)} and keeps it open")
        import fcntl

        flags = fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NOFOLLOW
        if flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_APPEND:
            raise Unfit(f"opens {link} for writing and keeps it open")
        try:
            os.close(os.open(f"/proc/self/fd/{fd}", flags))
        except OSError:
            raise Unfit(f"opens {link}, which cannot be opened again") from None
        self.kept[fd] = (flags, os.get_inheritable(fd))

    def open_again(self) -> None:
        for fd, how in self.kept.items():
            if how is not None:
                fresh = os.open(f"/proc/self/fd/{fd}", how[0])
                os.lseek(fresh, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
                os.dup2(fresh, fd, how[1])
                os.close(fresh)


def load(snapshot: str, names: list[str]) -> Files:
    """Imports the modules from the snapshot as an execution would."""
    from coflux import _output, _snapshot

    before = _descriptors()
    shared = _shared_memory()
    _output.install(None)
    _snapshot.install(snapshot)
    for name in names:
        __import__(name)
    check()
    files = Files()
    for fd in sorted(_descriptors() - before):
        files.keep(fd)
    for path in sorted(_shared_memory() - shared):
        raise Unfit(f"shares memory with other processes ({path})")
    gc.collect()
    _check_objects()
    return files


def check() -> None:
    """Threads of Python's do not survive a fork; native pools with fork handlers (OpenBLAS, MKL) do."""
    import _thread

    if _thread._count() > 0:
        threading = sys.modules.get("threading")
        names = [thread.name for thread in threading.enumerate()] if threading else []
        others = ", ".join(name for name in names if name != "MainThread")
        raise Unfit("starts threads" + (f" ({others})" if others else ""))
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return
    raise Unfit("starts processes")


def _check_objects() -> None:
    if "grpc" in sys.modules:
        for found in gc.get_objects():
            kind = type(found)
            if kind.__name__ in ("Channel", "_Server", "Server") and kind.__module__.split(".")[0] == "grpc":
                raise Unfit("opens a gRPC channel")
    weakref = sys.modules.get("weakref")
    if weakref is not None:
        for entry in list(weakref.finalize._registry.values()):
            if entry.atexit and getattr(entry.func, "__module__", "") == "tempfile":
                raise Unfit("makes a temporary directory")


def _descriptors() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
            found.add(int(name))
        except OSError:
            pass  # it was that of the listing
    return found


def _shared_memory() -> set[str]:
    found = set()
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            fields = line.split(None, 5)
            if fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                found.add(fields[5].decode("utf-8", "replace").strip() if len(fields) > 5 else "without a name")
    return found


def _named(link: str) -> str:
    for prefix, name in (("socket:", "a socket"), ("pipe:", "a pipe"), ("anon_inode:[eventpoll]", "an event loop")):
        if link.startswith(prefix):
            return name
    return link


def spare_threading() -> Callable[[], None]:
    """Makes the handler of forks of Python's threading do nothing until what is returned is called, in the new process.

    It makes locks anew and forgets the threads that are gone. Where there is one thread, none of it is needed, and
    what it touches is an eighth of what an executor copies.
    """
    threading = sys.modules.get("threading")
    handler = getattr(threading, "_after_fork", None)
    if threading is None or type(handler) is not _Function or handler.__module__ != "threading":
        return _nothing
    import _thread

    if [*threading._active] != [_thread.get_ident()] or threading._limbo or len(threading._dangling) > 1:
        return _nothing
    code = handler.__code__

    def give_back() -> None:
        handler.__code__ = code

    handler.__code__ = _nothing.__code__
    return give_back


def _nothing() -> None:
    pass


def reseed() -> None:
    """Python's own generator does it by itself, others drew from the template's state."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()
