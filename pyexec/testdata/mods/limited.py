"""Bodies that use more than they may."""

import os
import resource
import subprocess
import time

from coflux import task


def bounds():
    return [resource.getrlimit(kind) for kind in (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)]


@task(limits={"memory": "128M", "cpu": 7, "files": 100})
def bounded():
    return [list(pair) for pair in bounds()]


@task()
def unbounded():
    return [list(pair) for pair in bounds()]


@task(limits={"memory": "100T", "cpu": 1_000_000_000, "files": 1 << 40})
def greedy():
    return [list(pair) for pair in bounds()]


@task(limits={"memory": "128M"})
def fills():
    return len(bytearray(400 << 20))


@task(limits={"files": 40})
def opens():
    kept = [open("/dev/null") for _ in range(100)]
    return len(kept)


@task(limits={"cpu": 1})
def burns():
    while True:
        pass


@task(limits={"cpu": 1})
def burns_stubbornly():
    import signal

    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


@task(limits={"files": 64})
def child():
    return subprocess.run(["sh", "-c", "ulimit -n"], capture_output=True, text=True, check=True).stdout


@task()
def scores():
    with open("/proc/self/oom_score_adj") as mine, open(f"/proc/{os.getppid()}/oom_score_adj") as guards:
        return [int(mine.read()), int(guards.read()), os.nice(0), os.getpriority(os.PRIO_PROCESS, os.getppid())]


@task()
def eats(directory):
    """Says who it is, waits for the gate, and takes what there is."""
    with open(f"{directory}/tmp", "w") as f:
        f.write(str(os.getpid()))
    os.rename(f"{directory}/tmp", f"{directory}/pids")
    while not os.path.exists(f"{directory}/gate"):
        time.sleep(0.005)
    return len(bytes([1]) * (400 << 20))


TAKES = "b = bytes([1]) * (%d << 20); print('has it', flush=True); import sys; sys.stdin.read()"


@task(limits={"memory": "128M"})
def spreads(processes, size):
    """Sub-processes that have so many MiB each, at the same time."""
    import sys

    started = [
        subprocess.Popen([sys.executable, "-S", "-E", "-c", TAKES % size], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(processes)
    ]
    return [process.stdout.readline().decode() for process in started]
