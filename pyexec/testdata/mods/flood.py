"""Bodies that say more than anybody can keep, and bodies that end in odd ways."""

import mmap
import os
import sys
import threading
import time

from coflux import log_info, task, workflow

MB = 1 << 20


@task()
def echo(value):
    return value


@workflow()
def prints(n):
    for _ in range(n):
        print("line")
    return n


@workflow()
def one_line(how, size):
    """One line of so many bytes; returns what a call made in the middle of it returns."""
    fd = 2 if how == "stderr" else 1
    if how == "print":
        print("x" * (size // 2), end="")
        got = echo("heard")
        print("x" * (size // 2))
        return got
    block = b"x" * MB
    for written in range(0, size, MB):
        write(fd, block)
        if written == size // MB // 2 * MB:
            got = echo("heard")
    write(fd, b"\n")
    return got


@workflow()
def binary(size):
    """Bytes that are no text in any encoding, among them all kinds of line ends."""
    block = bytes(range(256)) * 4096
    for _ in range(0, size, len(block)):
        write(1, block)
        write(2, block[::-1])
    return echo("heard")


@workflow()
def by_child(size):
    import subprocess

    subprocess.run(["head", "-c", str(size), "/dev/zero"], check=True)
    return echo("heard")


@workflow()
def flooded(seconds):
    """Writes to both descriptors as fast as it can while it calls; returns how much and how often."""
    over, total = time.monotonic() + seconds, [0, 0]

    def flood(fd):
        line = (b"y" * 1023 + b"\n") * 64
        while time.monotonic() < over:
            write(fd, line)
            total[fd - 1] += len(line)

    threads = [threading.Thread(target=flood, args=(fd,)) for fd in (1, 2)]
    for thread in threads:
        thread.start()
    calls = 0
    while time.monotonic() < over:
        echo(calls)
        calls += 1
    for thread in threads:
        thread.join()
    return [sum(total), calls]


@task()
def counted(file):
    """Writes for ever; the first eight bytes of the file count what got out."""
    with open(file, "r+b") as f:
        count = mmap.mmap(f.fileno(), 8)
    total, block = 0, b"z" * 1023 + b"\n"
    while True:
        total += os.write(1, block)
        count[:8] = total.to_bytes(8, "little")


def write(fd, data):
    while data:
        data = data[os.write(fd, data) :]


@task()
def recurse():
    return recurse.fn()


@task()
def ping(n=0):
    return pong(n)


def pong(n):
    return ping.fn(n + 1)


@task()
def fork(how):
    """Forks; the child goes on as its parent would, comes to its end first, and must not be taken for it."""
    child = os.fork()
    if child == 0:
        if how == "raise":
            raise ValueError("from the child")
        if how == "exit":
            sys.exit(7)
        print("said by the child")
        return "the child's"
    return ["the parent's", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


@task()
def daemon_thread():
    """Leaves a thread behind that writes for ever."""

    def talk():
        while True:
            print("still here")

    threading.Thread(target=talk, daemon=True).start()
    return "done"


@task()
def daemon_logger():
    """Leaves a thread behind that logs for ever."""

    def talk():
        while True:
            log_info("{n}", n=1)

    threading.Thread(target=talk, daemon=True).start()
    return "done"


@task()
def late_thread(file):
    """Returns while a thread of its has something to do; the process ends after that."""

    def write_late():
        time.sleep(0.2)
        with open(file, "w") as f:
            f.write("late")

    threading.Thread(target=write_late).start()
    return "done"


@task()
def endless_thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return "done"


@task()
def broken_streams():
    sys.stdout = None
    os.close(1)
    os.close(2)
    return "done"


@task()
def closed_channel():
    for fd in range(3, 64):
        try:
            os.close(fd)
        except OSError:
            pass
    return "done"


@task()
def long_message(size):
    raise ValueError("m" * size)


@task()
def asked_to_end(directory, how):
    """A sub-process in its group and itself, which both note that they were asked; stubborn ones go on all the same."""
    import signal
    import subprocess

    goes = "" if how == "stubborn" else "exit;"
    # The shell says late that it is ready: the body must be the last.
    shell = f"trap 'sleep 0.1; echo yes > {directory}/child; {goes}' TERM; echo $$ > {directory}/shell; while :; do sleep 0.01; done"
    child = subprocess.Popen(["sh", "-c", shell])

    def asked(*_):
        with open(f"{directory}/body", "w") as f:
            f.write("yes")
        print("asked to end")
        if how != "stubborn":
            os._exit(0)

    signal.signal(signal.SIGTERM, asked)
    pids = [os.getpid(), child.pid]
    if how == "stubborn":
        pids.append(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid)
    while not os.path.exists(f"{directory}/shell"):
        time.sleep(0.001)
    with open(f"{directory}/tmp", "w") as f:
        f.write(" ".join(map(str, pids)))
    os.rename(f"{directory}/tmp", f"{directory}/pids")
    while True:
        time.sleep(0.01)  # Python handles a signal that comes just before a sleep only after that


@task()
def terminate():
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    child.terminate()
    return child.wait()
