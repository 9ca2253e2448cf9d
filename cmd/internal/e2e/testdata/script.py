"""What any package of generation 0.11 can do; script returns what it saw, as JSON."""

import datetime
import decimal
import json
import os
import sys
import time
import uuid

import coflux as cf


class Declined(Exception):
    pass


@cf.task()
def double(x):
    return x * 2


@cf.task()
def echo(x):
    return x


@cf.task()
def fail(text):
    raise ValueError(text)


@cf.task()
def decline(text):
    raise Declined(text)


@cf.task(timeout=0.5)
def impatient():
    time.sleep(60)


@cf.task()
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@cf.task()
def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)


@cf.task()
async def later(x, y=5):
    return [x, y]


@cf.task()
def leave():
    os._exit(3)


def attempt(name):
    """How often this was called with the name, by any process."""
    with open(os.path.join(os.path.dirname(__file__), name), "a") as file:
        file.write("x")
        return file.tell()


@cf.task(retries=cf.Retries(3, backoff=(0.01, 0.02), when=OSError))
def flaky(name, kind):
    n = attempt(name)
    if n < 3:
        raise {"os": OSError, "value": ValueError}[kind](f"attempt {n}")
    return n


@cf.task(memo=True)
def once(value, name):
    return attempt(name)


@cf.task(recurrent=True)
def until(name, last):
    n = attempt(name)
    return n if n == last else None


@cf.task()
def start(x):
    return double.submit(x)


class Thing:
    """Neither package knows it: it is pickled."""

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Thing) and self.x == other.x

    def __repr__(self):
        return f"Thing({self.x!r})"


@cf.stub("script", name="double")
def twice(x):
    raise AssertionError("the body of a stub is not run")


VALUES = [
    None, True, 0, -1, 2**53 + 1, 10**40, 3.0, 1e300, -0.0, "", "\u00e9 \U0001f600 \" \\ \n", [], [[1, "x"], {}],
    {"a": {"type": "dict", "items": []}, "b": [None]}, {1: 2, (3, "x"): {4, 5}}, (), (1, (2,)), set(),
    datetime.datetime(2024, 5, 1, 10, tzinfo=datetime.timezone.utc), datetime.date(2024, 5, 1), datetime.time(10, 0, 1),
    datetime.timedelta(days=1, seconds=0.5), decimal.Decimal("1.10"), uuid.UUID(int=7), "x" * 100_000, list(range(20_000)),
    b"", b"ab\x00", b"x" * 100_000, [b"a", {"b": b"a"}], Thing([1]), 1 + 2j, range(3),
]


def values():
    """Those that do not come back as they are, one by one and together."""
    handles = [echo.submit(value) for value in VALUES]
    wrong = [repr(value)[:50] for value, handle in zip(VALUES, handles) if same(value, handle.result()) is False]
    return wrong or same(VALUES, echo(VALUES))


def same(a, b):
    return type(a) is type(b) and repr(a) == repr(b) or a == b and isinstance(a, (set, dict, list))


def cancelled():
    handle = sleep.submit(60)
    first = handle.poll(0.05, "pending")
    handle.cancel()
    handle.cancel()
    try:
        handle.result()
    except cf.ExecutionTerminated as exc:
        return [first, type(exc).__name__, str(exc)]


def selected():
    slow, fast = sleep.submit(60), double.submit(4)
    winner, remaining = cf.select([slow, fast])
    cf.cancel(remaining)
    return [winner is fast, winner.result(), [handle is slow for handle in remaining]]


def grouped():
    with cf.group("many"):
        handles = [double.submit(i) for i in range(20)]
    return sum(handle.result() for handle in handles)


def retried():
    run = uuid.uuid4().hex
    seen = [flaky(run + ".1", "os"), flaky.with_retries(5).submit(run + ".2", "os").result()]
    for call in (lambda: flaky(run + ".3", "value"), lambda: flaky.with_retries(0)(run + ".4", "os")):
        try:
            call()
        except (OSError, ValueError) as exc:
            seen.append(str(exc))
    return seen


def memoised():
    name = uuid.uuid4().hex
    equal = [{"b": b"x", "a": {2, 1}}, {"a": {1, 2}, "b": b"x"}]
    return [once(value, name) for value in [*equal, {"a": {1, 2}, "b": b"y"}, equal[0]]]


@cf.task()
def hear(question):
    return question.result()


def asked():
    prompt = cf.Prompt("Which {what}?", schema={"type": "object", "required": ["n"]}, title="answer", actions=("Go", "Stop"))
    question = prompt.submit(what="number")
    again = prompt.submit(what="number")
    answer = hear(question)
    try:
        cf.Prompt("Really?", bool, title="dismiss")()
    except cf.InputDismissed as exc:
        dismissed = str(exc)
    withdrawn = cf.Prompt("Never mind").with_key("own").submit()
    before = withdrawn.poll()
    withdrawn.cancel()
    try:
        withdrawn.result()
    except cf.ExecutionCancelled as exc:
        return [answer, question.id == again.id, dismissed, before, str(exc)]


def spoken():
    print("printed", "twice", sep="\n")
    print("to stderr", file=sys.stderr)
    cf.log_info("logged {x}", x=[1, "two"])
    cf.log_warning("beside {x} {y}", x=b"bytes", y="large" * 20_000)
    os.write(2, b"raw\n")


def remote_types():
    caught = []
    for call in (lambda: fail("a"), lambda: decline("b")):
        try:
            call()
        except (ValueError, Declined) as exc:
            caught.append([type(exc).__name__, isinstance(exc, cf.ExecutionError), str(exc)])
    return caught


CHECKS = {
    "call": lambda: double(21),
    "stub": lambda: twice(5),
    "async and defaults": lambda: later(1),
    "values": values,
    "handles are values": lambda: echo({"h": start(8)})["h"].result(),
    "errors": remote_types,
    "timeout": lambda: impatient(),
    "with_timeout": lambda: sleep.with_timeout(0.2).submit(60).result(),
    "crash": lambda: leave(),
    "type error": lambda: double(None),
    "cancel": cancelled,
    "select": selected,
    "group": grouped,
    "retries": retried,
    "memo": memoised,
    "recurrence": lambda: until(uuid.uuid4().hex, 3),
    "depth": lambda: deep(4),
    "inputs": asked,
    "output": spoken,
}


@cf.workflow()
def script():
    seen = {}
    for name, check in CHECKS.items():
        try:
            seen[name] = check()
        except Exception as exc:
            seen[name] = f"{type(exc).__name__}: {exc}"
    return json.dumps(seen)
