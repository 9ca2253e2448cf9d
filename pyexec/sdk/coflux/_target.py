"""The decorators and what they make of a function."""

from __future__ import annotations

import sys

from coflux import _context
from coflux._execution import Execution

_UNSUPPORTED = {
    "wait": False,
    "cache": False,
    "retries": 0,
    "recurrent": False,
    "defer": False,
    "memo": False,
    "requires": None,
}


class Target:
    """A function that runs as an execution of its own when it is called inside one."""

    def __init__(self, fn, kind: str, name: str | None, timeout, delay) -> None:
        parameters = _parameters(fn)
        # Like functools.update_wrapper, whose import would cost every process a millisecond.
        vars(self).update(vars(fn))
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, attribute, getattr(fn, attribute, None))
        self.__wrapped__ = fn
        self.fn = fn
        self.kind = kind
        self.parameters = parameters
        self.name = name or fn.__name__
        self.module = fn.__module__
        self.timeout_ms = _milliseconds(timeout)
        self.delay_ms = _milliseconds(delay)
        self._defaults = _unwrapped(fn).__defaults__ or ()

    def submit(self, *args, **kwargs) -> Execution:
        """Schedules an execution and returns its handle at once."""
        context = _context.current()
        params: dict = {
            "module": self.module,
            "target": self.name,
            "type": self.kind,
            "arguments": [context.serialize(value) for value in self.bind(args, kwargs)],
        }
        group_id = _context.group_id.get()
        if group_id is not None:
            params["group_id"] = group_id
        if self.delay_ms:
            params["delay"] = self.delay_ms
        if self.timeout_ms:
            params["timeout"] = self.timeout_ms
        return Execution(None, self.module, self.name, _pending=context.submit(params))

    def __call__(self, *args, **kwargs):
        if _context.active():
            return self.submit(*args, **kwargs).result()
        return run(self.fn, args, kwargs)

    def __get__(self, instance, owner=None):
        return self

    def bind(self, args: tuple, kwargs: dict) -> list:
        """The positional arguments of a call; defaults only where a later argument needs them."""
        names = self.parameters
        if len(args) > len(names):
            raise TypeError(f"{self.name}() takes {len(names)} arguments but {len(args)} were given")
        bound = dict(zip(names, args))
        for name, value in kwargs.items():
            if name not in names:
                raise TypeError(f"{self.name}() got an unexpected keyword argument '{name}'")
            if name in bound:
                raise TypeError(f"{self.name}() got multiple values for argument '{name}'")
            bound[name] = value
        defaults = self.defaults()
        missing = [name for name in names if name not in bound and name not in defaults]
        if missing:
            raise TypeError(f"{self.name}() is missing the argument '{missing[0]}'")
        last = max((index for index, name in enumerate(names) if name in bound), default=-1)
        return [bound[name] if name in bound else defaults[name] for name in names[: last + 1]]

    def defaults(self) -> dict:
        names = self.parameters
        return dict(zip(names[len(names) - len(self._defaults) :], self._defaults))


def task(*, name: str | None = None, timeout=0, delay=0, **options):
    """Makes a function a step that workflows and tasks can call."""
    return _decorator("task", name, timeout, delay, options)


def workflow(*, name: str | None = None, timeout=0, delay=0, **options):
    """Makes a function a workflow: something that can be started from outside."""
    return _decorator("workflow", name, timeout, delay, options)


class group:
    """Everything submitted inside belongs together when the run is shown."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._tokens: list = []

    def __enter__(self) -> None:
        number = _context.current().open_group(self._name)
        self._tokens.append(_context.group_id.set(number))

    def __exit__(self, *exc_info: object) -> None:
        _context.group_id.reset(self._tokens.pop())


def run(fn, args, kwargs):
    """Calls a function here; a coroutine is run to its end in a fresh event loop."""
    value = fn(*args, **kwargs)
    if hasattr(value, "cr_await"):  # a coroutine
        import asyncio

        return asyncio.run(value)
    return value


def _decorator(kind: str, name: str | None, timeout, delay, options: dict):
    for option, value in options.items():
        if option not in _UNSUPPORTED:
            raise TypeError(f"{kind}() got an unexpected keyword argument '{option}'")
        if value != _UNSUPPORTED[option]:
            raise NotImplementedError(f"the option '{option}' of @{kind} is not supported yet")

    def decorate(fn) -> Target:
        return Target(fn, kind, name, timeout, delay)

    return decorate


def _unwrapped(fn):
    """The function under decorators that use functools.wraps."""
    while hasattr(fn, "__wrapped__"):
        fn = fn.__wrapped__
    if not hasattr(fn, "__code__"):
        raise TypeError(f"only functions can be tasks and workflows, not {type(fn).__name__}")
    return fn


def _parameters(fn) -> tuple[str, ...]:
    # By hand, because importing inspect would cost every process some milliseconds.
    code = _unwrapped(fn).__code__
    if code.co_posonlyargcount:
        raise Exception("Unsupported parameter type (positional-only)")
    if code.co_kwonlyargcount:
        raise Exception("Unsupported parameter type (keyword-only)")
    if code.co_flags & 0x04:
        raise Exception("Unsupported parameter type (*args)")
    if code.co_flags & 0x08:
        raise Exception("Unsupported parameter type (**kwargs)")
    return code.co_varnames[: code.co_argcount]


def _milliseconds(value) -> int:
    if not value:
        return 0
    if "datetime" in sys.modules and isinstance(value, sys.modules["datetime"].timedelta):
        value = value.total_seconds()
    return int(value * 1000)
