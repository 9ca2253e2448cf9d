"""Handles: names of executions and inputs that may be waited for, passed on and returned."""

from __future__ import annotations

from coflux import _codec, _context, _errors
from coflux._generic import Generic, T_co
from coflux._options import milliseconds

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, overload

    from coflux._context import Submission
    from coflux._generic import D


class Handle(Generic[T_co]):
    """What Execution and Input have in common."""

    _kind: str

    @property
    def id(self) -> str:
        raise NotImplementedError

    @property
    def _key(self) -> tuple[str, str]:
        return self._kind, self.id

    def result(self) -> T_co:
        """Waits for the end and returns the value, or raises what it ended with."""
        context = _context.current()
        found = context.select([self._key], _context.patience.get(), True)
        if found is None:
            raise TimeoutError("the wait ended without an outcome")
        return self._value(found[1])

    if TYPE_CHECKING:

        @overload
        def poll(self, timeout: float | None = None) -> T_co | None: ...
        @overload
        def poll(self, timeout: float | None, default: D) -> T_co | D: ...
        @overload
        def poll(self, timeout: float | None = None, *, default: D) -> T_co | D: ...

    def poll(self, timeout: float | None = None, default: Any = None) -> Any:
        """The value if there is one within timeout seconds (None or 0: do not wait), else default."""
        context = _context.current()
        found = context.select([self._key], milliseconds("timeout", timeout), False)
        return default if found is None else self._value(found[1])

    def cancel(self) -> None:
        """Cancels it; nothing happens when it is finished."""
        _context.current().cancel([self._key])

    def _value(self, outcome: dict[str, Any]) -> T_co:
        if outcome["status"] == "ok":
            return self._decode(outcome.get("value"))
        raise _exception(outcome)

    def _decode(self, value: dict[str, Any] | None) -> T_co:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Handle) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Execution(Handle[T_co]):
    """Names an execution.

    Fresh from submit it does not know its id yet: the reply is awaited where the id is first needed.
    """

    _kind = "execution"

    def __init__(
        self, execution_id: str | None, module: str, target: str, *, _submission: Submission | None = None
    ) -> None:
        self._id = execution_id
        self._submission = _submission
        self._module = module
        self._target = target

    @property
    def id(self) -> str:
        if self._id is None:
            assert self._submission is not None
            self._id = self._submission.execution_id()
        return self._id

    @property
    def module(self) -> str:
        return self._module

    @property
    def target(self) -> str:
        return self._target

    def _decode(self, value: dict[str, Any] | None) -> T_co:
        return _codec.deserialize(value)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[object, ...]:
        return Execution, (self.id, self._module, self._target)

    def __repr__(self) -> str:
        return f"<Execution {self._id or '(being submitted)'} {self._module}/{self._target}>"


class Input(Handle[T_co]):
    """Names a question to a person. Input[Model] gives answers as Model.model_validate makes them."""

    _kind = "input"
    __orig_class__: Any

    def __init__(self, input_id: str) -> None:
        self._id = input_id

    @property
    def id(self) -> str:
        return self._id

    @property
    def _of(self) -> Any:
        """T, where it was given."""
        alias = getattr(self, "__orig_class__", None)
        return None if alias is None else alias.__args__[0]

    def _decode(self, value: dict[str, Any] | None) -> T_co:
        answer = _codec.plain(value)
        if hasattr(self._of, "model_validate"):
            return self._of.model_validate(answer)  # type: ignore[no-any-return]
        return _codec.moment(answer, self._of)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[object, ...]:
        return getattr(self, "__orig_class__", Input), (self._id,)

    def __repr__(self) -> str:
        return f"<Input {self._id}>"


def keys(handles: Sequence[Handle[Any]]) -> list[tuple[str, str]]:
    """The names of the handles; all are checked before any is waited for."""
    for handle in handles:
        if not isinstance(handle, Handle):
            raise TypeError(f"handles are executions and inputs, not {type(handle).__name__}")
    return [handle._key for handle in handles]


def retype(fn: Any, arguments: list[Any]) -> list[Any]:
    """The arguments, with inputs of the type that the parameter is annotated with: the wire does not carry it."""
    if any(type(argument) is Input for argument in arguments):
        from coflux import _annotations

        models = _annotations.input_models(fn)
        for index, argument in enumerate(arguments):
            if type(argument) is Input and index in models:
                arguments[index] = models[index](argument.id)
    return arguments


def _exception(outcome: dict[str, Any]) -> Exception:
    status = outcome["status"]
    if status == "error":
        error = outcome.get("error") or {}
        return _errors.rebuild(error.get("type") or "", error.get("message") or "")
    if status in _errors.BY_STATUS:
        return _errors.BY_STATUS[status]()
    return RuntimeError(f"unknown select status: {status}")
