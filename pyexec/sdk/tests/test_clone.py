"""Forking a process whose parent is this process's parent."""

import os
import subprocess
import sys
import unittest

FORK = """
import os, sys, threading
from coflux import _clone
fork = _clone.sibling(2)
if fork is None:
    print("impossible")
    sys.exit()
pid = fork()
if pid == 0:
    with open("/proc/thread-self/stat") as file:
        own = int(file.read().split()[0])
    good = own == os.getpid() == threading.get_native_id() and threading.current_thread() is threading.main_thread()
    os._exit(7 if good else 1)
print(pid)
"""

LIBRARY = """
import _ctypes
from coflux import _clone
before = _clone.libraries()
import ctypes
ctypes.CDLL("libresolv.so.2")
print(sorted(name.rpartition("/")[2] for name in _clone.libraries() - before))
"""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


class Clone(unittest.TestCase):
    def test_the_parent_is_the_parents(self) -> None:
        said = python(FORK)
        if said == "impossible":
            self.skipTest("this machine or its libc is not known")
        _, status = os.waitpid(int(said), 0)  # fails if it is not our child
        self.assertEqual(os.waitstatus_to_exitcode(status), 7)

    @unittest.skipUnless(sys.platform == "linux" and os.confstr("CS_GNU_LIBC_VERSION"), "needs a library of glibc's")
    def test_libraries_of_others_are_seen(self) -> None:
        self.assertIn("libresolv.so.2", python(LIBRARY))


if __name__ == "__main__":
    unittest.main()
