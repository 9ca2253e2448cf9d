import os
import sys
import time

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
