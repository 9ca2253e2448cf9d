"""task, workflow and stub."""

from __future__ import annotations

from coflux import _limits
from coflux._target import Target

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Protocol, overload

    from coflux._generic import P, T
    from coflux._limits import Limits
    from coflux._options import Cache, Defer, Duration, Names, Retries, Tags

    class Decorator(Protocol):
        @overload
        def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Target[P, T]: ...
        @overload
        def __call__(self, fn: Callable[P, T], /) -> Target[P, T]: ...


def task(
    *,
    name: str | None = None,
    wait: bool | Names = False,
    cache: bool | Duration | Cache = False,
    retries: int | bool | Retries = 0,
    recurrent: bool = False,
    defer: bool | Defer = False,
    delay: Duration = 0,
    memo: bool | Names | None = None,
    requires: Tags | None = None,
    timeout: Duration = 0,
    limits: Limits | None = None,
) -> Decorator:
    """Makes a function a step that workflows and tasks can call.

    name: what it is called, by default as the function. wait: the parameters (True: all) whose executions must be over
    before it starts. cache: use an earlier result, at most so many seconds old (True: of any age). retries: how often it
    is run again after a failure (True: for ever, 1 to 60 s apart). recurrent: run again after each None. defer: of the
    calls that wait to start only the newest runs. delay: seconds before the start and between recurrences. memo: calls
    with equal arguments (or equal named ones) in one run are one step; False: not even if the run memoises. requires:
    tags that the worker must have. timeout: seconds after which an attempt is ended. Times may be timedeltas. limits: what each
    of its processes may use: {"memory": "2G", "cpu": 60, "files": 1024}.
    """
    options = dict(
        wait=wait, cache=cache, retries=retries, recurrent=recurrent, defer=defer, delay=delay, memo=memo,
        requires=requires, timeout=timeout,
    )  # fmt: skip
    return _decorator("task", name, None, options, limits)


def workflow(
    *,
    name: str | None = None,
    wait: bool | Names = False,
    cache: bool | Duration | Cache = False,
    retries: int | bool | Retries = 0,
    recurrent: bool = False,
    defer: bool | Defer = False,
    delay: Duration = 0,
    memo: bool | None = None,
    requires: Tags | None = None,
    timeout: Duration = 0,
    limits: Limits | None = None,
    durable: bool = False,
) -> Decorator:
    """Makes a function a workflow: something that can be started from outside. Called from a target it is a run of its own.

    The options are those of task, and memo is what the steps of the run do that do not say it themselves. durable: when its
    node or process is lost it is run again on another one, where each call that it makes anew finds the one that was made
    before, so that what was completed is not run again; three losses in a row without another completed step end it.
    """
    if memo is not None and not isinstance(memo, bool):
        raise TypeError(f"memo of a workflow is True or False, not {memo!r}")
    options = dict(
        wait=wait, cache=cache, retries=retries, recurrent=recurrent, defer=defer, delay=delay, memo=memo,
        requires=requires, timeout=timeout, durable=durable,
    )  # fmt: skip
    return _decorator("workflow", name, None, options, limits)


def stub(
    module: str,
    *,
    name: str | None = None,
    type: str = "task",
    wait: bool | Names = False,
    cache: bool | Duration | Cache = False,
    retries: int | bool | Retries = 0,
    recurrent: bool = False,
    defer: bool | Defer = False,
    delay: Duration = 0,
    memo: bool | Names | None = None,
) -> Decorator:
    """Stands for a target of another module that need not be installed here. Outside of executions the body runs.

    A call is made with the options given here, not with those that the target itself has.
    """
    if not isinstance(module, str):
        raise TypeError(f"stub needs the name of the target's module, not {module!r}")
    if type not in ("task", "workflow"):
        raise ValueError(f"the type of a stub is 'task' or 'workflow', not {type!r}")
    options = dict(
        wait=wait, cache=cache, retries=retries, recurrent=recurrent, defer=defer, delay=delay, memo=memo
    )  # fmt: skip
    return _decorator(type, name, module, options)


def _decorator(kind: str, name: str | None, module: str | None, options: dict[str, Any], limits: Limits | None = None) -> Decorator:
    bounds = _limits.parse(limits)

    def decorate(fn: Any) -> Any:
        target: Target[..., Any] = Target(fn, kind, name, module, options)
        target.limits = bounds
        return target

    return decorate
