"""Forks a process whose parent is this process's parent, which the standard library has no function for.

The system call is made between the interpreter's own steps before and after a fork. What libc's fork would do beside it is
nothing to a process with one thread, except for handlers that libraries have registered with it: where others than those of
Python itself are loaded, it must be done another way.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_GET_TID_ADDRESS = 40
_FLAGS = 0x8000 | 0x200000 | 0x1000000 | 17  # CLONE_PARENT, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID, SIGCHLD

# The call's number, and which argument is the address of the thread's id.
_CALLS = {"x86_64": (56, 3), "aarch64": (220, 4)}


# What extensions of the standard library are linked with.
_PLAIN = ("libcrypto", "libssl", "libsqlite3", "libz", "libbz2", "liblzma", "libffi", "libexpat", "libuuid", "libm.")


def libraries() -> set[str]:
    """The shared libraries that are loaded, without those of the standard library."""
    own = os.path.join("lib-dynload", "")
    found = set()
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            fields = line.split(None, 5)
            if len(fields) > 5 and b"x" in fields[1]:
                name = os.fsdecode(fields[5].rstrip(b"\n"))
                if own not in name and not os.path.basename(name).startswith(_PLAIN):
                    found.add(name)
    return found


def threads() -> int:
    """Those that only the kernel knows, too."""
    return len(os.listdir("/proc/self/task"))


def sibling(rehearsals: int) -> Callable[[], int] | None:
    """What forks: it returns the new process's id, 0 in the new process and a negative number when there is none.

    None where it cannot be done: the numbers are those of some machines, and only glibc is known to go along.
    """
    call = _CALLS.get(os.uname().machine)
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        return None
    if call is None or not glibc or sys.maxsize < 1 << 32 or threads() > 1:
        return None
    import ctypes

    # Calls through PyDLL keep the interpreter's lock.
    python, libc = ctypes.pythonapi, ctypes.PyDLL(None)
    thread = ctypes.c_void_p()  # where libc keeps the thread's id: the kernel writes the new one there, as for libc's fork
    if libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(thread), 0, 0, 0) != 0 or not thread.value:
        return None
    raw = libc.syscall
    raw.restype = ctypes.c_long
    arguments = [ctypes.c_long(value) for value in (call[0], _FLAGS, 0, 0, 0, 0)]
    arguments[1 + call[1]] = ctypes.c_long(thread.value)
    before, in_child, in_parent = python.PyOS_BeforeFork, python.PyOS_AfterFork_Child, python.PyOS_AfterFork_Parent
    for step in (before, in_child, in_parent):
        step.restype = None

    # What runs in each new process must have run before (see _rehearsal).
    for _ in range(rehearsals):
        before()
        in_child()

    def fork() -> int:
        before()
        pid: int = raw(*arguments)
        if pid == 0:
            in_child()
        else:
            in_parent()
        return pid

    return fork
