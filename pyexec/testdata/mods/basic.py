import os
import sys
import time

import coflux
from coflux import group, log_info, task, workflow


@task()
def noop():
    return None


@task()
def echo(value):
    return value


@task()
def build_greeting(name):
    return f"Hello, {name}!"


@workflow()
def hello(name):
    print(build_greeting(name))


@task()
def count_down(n):
    return 0 if n == 0 else 1 + count_down(n - 1)


@task()
def add(a, b=10, c=100):
    return a + b + c


@workflow()
def keyword():
    return add(1, c=3)


@task()
def fail(text):
    raise ValueError(text)


@workflow()
def catch():
    try:
        fail("boom")
    except ValueError as exc:
        return [type(exc).__name__, str(exc)]


@workflow()
def uncaught():
    fail("boom")


@workflow()
def fan(n):
    with group("all"):
        handles = [echo.submit(i) for i in range(n)]
    return sum(h.result() for h in handles)


@task()
def talk():
    print("one")
    log_info("two {x}", x=[1])
    os.write(1, b"three raw\n")
    print("four", file=sys.stderr)
    os.write(2, b"five raw\n")
    print("six without end", end="")


@task()
def leave(code):
    os._exit(code)


@task()
def quit(code):
    sys.exit(code)


@task()
def crash():
    import ctypes

    ctypes.string_at(0)


@task()
def sleep(seconds):
    time.sleep(seconds)


@task()
async def later(x):
    import asyncio

    await asyncio.sleep(0)
    return x


@task()
def kill_self():
    os.kill(os.getpid(), 9)


@task()
def endless():
    while True:
        print("again")


@task()
def endless_raw():
    while True:
        os.write(1, b"x" * 65536)


@task()
def leave_child(how, file):
    """Starts a process that outlives the body and writes for ever; returns its pid."""
    import subprocess

    if how == "fork":
        child = os.fork()
        if child == 0:
            os.setsid()
            open(file, "w").write(str(os.getpid()))
            time.sleep(1000)
        while not os.path.exists(file) or not open(file).read():
            time.sleep(0.001)
        return child
    child = subprocess.Popen(
        [sys.executable, "-c", "import os, time\nopen(%r, 'w').write(str(os.getpid()))\nwhile True: os.write(1, b'noise' * 100 + b'\\n')" % file],
        start_new_session=how == "session",
    )
    while not os.path.exists(file) or not open(file).read():
        time.sleep(0.001)
    return child.pid


@task()
def spawn_children(file):
    """A sub-process in the group and one in a session of its own, both sleeping, then sleeps itself."""
    import subprocess

    a = subprocess.Popen(["sleep", "1000"])
    b = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    with open(file + ".tmp", "w") as out:
        out.write(f"{os.getpid()} {a.pid} {b.pid}")
    os.rename(file + ".tmp", file)
    time.sleep(1000)


@workflow()
def refuse():
    from coflux import Execution  # noqa: F401

    other = task(name="refused")(lambda: None)
    other.submit()
    return "the refusal must raise at the end"


@task()
def at_exit():
    import atexit

    atexit.register(lambda: print("bye"))
    print("hi")


@task()
def chained():
    try:
        {}["k"]
    except KeyError as exc:
        raise RuntimeError("outer") from exc


@task()
def nan():
    return float("nan")


@task()
def suspends():
    import coflux

    coflux.suspend(5)


@task(retries=coflux.Retries(when=OSError))
def picky(text):
    raise OSError(text) if text == "again" else ValueError(text)


@coflux.stub("elsewhere")
def far():
    return None


@task()
def where():
    return [os.getcwd(), os.listdir(".")]


@workflow()
def threads():
    import threading

    out = []

    def one(n):
        out.append(echo(n))

    ts = [threading.Thread(target=one, args=(n,)) for n in range(4)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    return sorted(out)


@workflow()
def poll():
    h = sleep.submit(1000)
    first = h.poll(0.01, "not yet")
    h.cancel()
    try:
        h.result()
    except Exception as exc:
        return [first, type(exc).__name__, str(exc)]


@task()
def about():
    """What a process is, as far as its making decides it."""
    import ctypes
    import signal

    death = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(death), 0, 0, 0)
    with open("/proc/self/environ", "rb") as file:
        environ = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
    signals = {}
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(("SigBlk", "SigIgn", "SigCgt", "Threads")):
                signals[line.split(":")[0]] = line.split()[1]
    return {
        "death": death.value,
        "leads": os.getpgrp() == os.getpid(),
        "parent": os.getppid(),
        "nice": os.nice(0),
        "argv": sys.argv,
        "inherited": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 5),
        "others": len([fd for fd in os.listdir("/proc/self/fd") if int(fd) >= 5]),
        "inheritable": [os.get_inheritable(fd) for fd in range(5)],
        "mark": environ[b"COFLUX_EXECUTOR"].decode() == os.environ["COFLUX_EXECUTOR"],
        "boot": environ[b"COFLUX_BOOT"].decode(),
        "streams": [str(sys.__stdin__), str(sys.__stdout__), str(sys.__stderr__), sys.__stdout__.seekable()],
        "collects": __import__("gc").isenabled(),
        "signals": signals,
        "handlers": str(signal.getsignal(signal.SIGINT)),
        "environ": sorted(os.environ),
        "path": sys.path,
    }


@task()
def dice():
    import random

    return [os.environ["COFLUX_EXECUTOR"], random.random()]


@task()
def await_(file):
    while not os.path.exists(file):
        time.sleep(0.005)


@task()
def mess(how):
    """Does something to the working directory; returns its path."""
    work = os.getcwd()
    if how == "file":
        open("left", "w").write("secret")
    elif how == "hidden":
        open(".left", "w").write("secret")
    elif how == "nested":
        os.makedirs("a/b")
        open("a/b/c", "w").write("secret")
    elif how == "link":
        os.symlink("/etc/passwd", "left")
    elif how == "mode":
        os.chmod(".", 0o777)
    elif how == "locked":
        os.mkdir("a")
        open("a/b", "w").write("secret")
        os.chmod("a", 0)
        os.chmod(".", 0)
    elif how == "attribute":
        os.setxattr(".", "user.left", b"secret")
    elif how == "gone":
        os.rmdir(work)
    elif how == "another":
        os.rmdir(work)
        os.mkdir(work, 0o700)
    elif how == "elsewhere":
        os.rmdir(work)
        os.symlink("/tmp", work)
    elif how == "come and gone":
        open("left", "w").close()
        os.remove("left")
    return work


@task()
def dies_with_stray(file):
    """Starts a process in a session of its own and is killed, before that has got far."""
    import signal
    import subprocess

    with open(file, "w") as out:
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        out.write(str(child.pid))
        out.flush()
        os.kill(os.getpid(), signal.SIGKILL)
