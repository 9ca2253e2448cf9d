"""Targets: functions that run as executions of their own when they are called inside one."""

from __future__ import annotations

from coflux import _context
from coflux._generic import Generic, P, T
from coflux._handles import Execution
from coflux._options import Options

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType
    from typing import Any, TypeGuard

    from coflux._options import Cache, Defer, Duration, Names, Retries, Tags


class Target(Generic[P, T]):
    """What the decorators make of a function.

    Called or submitted inside an execution it becomes a step; called outside of one the function simply runs.
    """

    name: str
    module: str
    fn: Callable[P, T]
    kind: str  # task | workflow
    parameters: tuple[str, ...]
    options: Options
    stub: bool  # stands for a function that other code has
    limits: dict[str, int]  # of what its processes use
    copy: bool  # made by with_...: nothing to discover or to run by name

    def __init__(self, fn: Callable[P, T], kind: str, name: str | None, module: str | None, options: dict[str, Any]) -> None:
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
        self.module = module or fn.__module__
        self.stub = module is not None
        self.copy = False
        self.limits = {}
        self.options = Options(parameters).replaced(**options)
        self._defaults: tuple[object, ...] = _unwrapped(fn).__defaults__ or ()

    @property
    def definition(self) -> dict[str, object]:
        """The target as the manifest describes it."""
        from coflux import _discover

        return _discover.describe_target(self.module, self)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Execution[T]:
        """Schedules an execution and returns its handle at once."""
        context = _context.current()
        params: dict[str, object] = {
            "module": self.module,
            "target": self.name,
            "type": self.kind,
            "arguments": [context.serialize(value, canonical=True) for value in self.bind(args, kwargs)],
        }
        group_id = _context.group_id.get()
        if group_id is not None:
            params["group_id"] = group_id
        params.update(self.options.wire())
        return Execution(None, self.module, self.name, _submission=context.submit(params))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if _context.active():
            return self.submit(*args, **kwargs).result()
        return run(self.fn, args, kwargs)  # type: ignore[no-any-return]

    def __get__(self, instance: object, owner: type | None = None) -> Target[P, T]:
        return self

    def __repr__(self) -> str:
        return f"<{self.kind} {self.module}/{self.name}>"

    def with_cache(self, cache: bool | Duration | Cache) -> Target[P, T]:
        return self._with(cache=cache)

    def with_retries(self, retries: int | bool | Retries) -> Target[P, T]:
        return self._with(retries=retries)

    def with_defer(self, defer: bool | Defer) -> Target[P, T]:
        return self._with(defer=defer)

    def with_memo(self, memo: bool | Names) -> Target[P, T]:
        return self._with(memo=memo)

    def with_delay(self, delay: Duration) -> Target[P, T]:
        return self._with(delay=delay)

    def with_timeout(self, timeout: Duration) -> Target[P, T]:
        return self._with(timeout=timeout)

    def with_requires(self, requires: Tags | None) -> Target[P, T]:
        return self._with(requires=requires)

    def _with(self, **changes: object) -> Target[P, T]:
        changed: Target[P, T] = Target.__new__(Target)
        vars(changed).update(vars(self))
        changed.options = self.options.replaced(**changes)
        changed.copy = True
        return changed

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> list[object]:
        """The positional arguments of a call; defaults only where a later argument needs them."""
        known = self.parameters
        if len(args) > len(known):
            raise TypeError(f"{self.name}() takes {len(known)} arguments but {len(args)} were given")
        bound = dict(zip(known, args))
        for name, value in kwargs.items():
            if name not in known:
                raise TypeError(f"{self.name}() got an unexpected keyword argument '{name}'")
            if name in bound:
                raise TypeError(f"{self.name}() got multiple values for argument '{name}'")
            bound[name] = value
        defaults = dict(zip(known[len(known) - len(self._defaults) :], self._defaults))
        missing = [name for name in known if name not in bound and name not in defaults]
        if missing:
            raise TypeError(f"{self.name}() is missing the argument '{missing[0]}'")
        last = max((index for index, name in enumerate(known) if name in bound), default=-1)
        return [bound[name] if name in bound else defaults[name] for name in known[: last + 1]]


def find(module: object, name: str) -> Target[..., Any] | None:
    """The target of that name that the module's code is for."""
    first = vars(module).get(name)
    if _serves(first, name):
        return first
    for found in vars(module).values():  # to look at a value is to copy its page of memory
        if _serves(found, name):
            return found
    return None


def _serves(found: object, name: str) -> TypeGuard[Target[..., Any]]:
    return isinstance(found, Target) and found.name == name and not found.stub and not found.copy


def run(fn: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
    """Calls a function here; a coroutine is run to its end in a fresh event loop.

    Where a loop runs already the coroutine is handed to whoever called, who can await it.
    """
    value = fn(*args, **kwargs)
    if hasattr(value, "cr_await"):  # a coroutine
        import asyncio

        if asyncio._get_running_loop() is None:
            return asyncio.run(value)
    return value


def _unwrapped(fn: Any) -> Any:
    """The function under decorators that use functools.wraps."""
    if isinstance(fn, Target):
        raise TypeError(f"{fn.name} is a {fn.kind} already: decorate the function once")
    while hasattr(fn, "__wrapped__"):
        fn = fn.__wrapped__
    if not hasattr(fn, "__code__"):
        raise TypeError(f"only functions can be tasks and workflows, not {type(fn).__name__}")
    return fn


def _parameters(fn: object) -> tuple[str, ...]:
    # By hand, because importing inspect would cost every process some milliseconds.
    code: CodeType = _unwrapped(fn).__code__
    if code.co_posonlyargcount:
        raise Exception("Unsupported parameter type (positional-only)")
    if code.co_kwonlyargcount:
        raise Exception("Unsupported parameter type (keyword-only)")
    if code.co_flags & 0x04:
        raise Exception("Unsupported parameter type (*args)")
    if code.co_flags & 0x08:
        raise Exception("Unsupported parameter type (**kwargs)")
    return code.co_varnames[: code.co_argcount]
