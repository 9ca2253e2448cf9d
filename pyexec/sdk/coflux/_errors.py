"""What a failed wait raises.

Exception
 +-- ExecutionError            the callee raised; also derives from the callee's own class when that can be imported
 +-- ExecutionTerminated       the callee ended without a value or an error of its own
 |    +-- ExecutionCancelled
 |    +-- ExecutionTimeout
 |    +-- ExecutionAbandoned
 +-- InputDismissed            the person who was asked declined to answer
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable


class ExecutionError(Exception):
    """The execution that was waited for raised an error."""

    def __init__(self, error_type: str, error_message: str) -> None:
        super().__init__(error_message)
        self.error_type = error_type
        self.error_message = error_message

    def __str__(self) -> str:
        return self.error_message


class ExecutionTerminated(Exception):
    """The execution that was waited for ended without a result."""


class ExecutionCancelled(ExecutionTerminated):
    """It, or what it belongs to, was cancelled."""

    def __init__(self) -> None:
        super().__init__("execution was cancelled")


class ExecutionTimeout(ExecutionTerminated):
    """It took longer than its target's timeout."""

    def __init__(self) -> None:
        super().__init__("execution timed out")


class ExecutionAbandoned(ExecutionTerminated):
    """The machine that ran it was lost."""

    def __init__(self) -> None:
        super().__init__("execution was abandoned")


class InputDismissed(Exception):
    """The input that was waited for was dismissed."""

    def __init__(self) -> None:
        super().__init__("input was dismissed")


BY_STATUS: dict[str, Callable[[], Exception]] = {
    "cancelled": ExecutionCancelled,
    "timeout": ExecutionTimeout,
    "abandoned": ExecutionAbandoned,
    "dismissed": InputDismissed,
}

_classes: dict[str, type[Exception] | None] = {}


def rebuild(error_type: str, error_message: str) -> Exception:
    """The exception for a remote error: catchable as ExecutionError and, where it can be, as its own class."""
    if error_type not in _classes:
        _classes[error_type] = _combine(error_type)
    combined = _classes[error_type]
    if combined is not None:
        try:
            return combined(error_type, error_message)
        except Exception:
            pass
    return ExecutionError(error_type, error_message)


def type_name(exc: BaseException) -> str:
    """The fully qualified name under which an exception is reported."""
    if isinstance(exc, ExecutionError) and (type(exc) is ExecutionError or "_coflux_combined" in vars(type(exc))):
        return exc.error_type
    return f"{type(exc).__module__}.{type(exc).__qualname__}"


def _combine(error_type: str) -> type[Exception] | None:
    original = _resolve(error_type)
    if original is None or issubclass(original, ExecutionError):
        return None

    def init(self: ExecutionError, error_type: str, error_message: str) -> None:
        original.__init__(self, error_message)
        self.error_type = error_type
        self.error_message = error_message

    body = {
        "__init__": init,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "_coflux_combined": True,
    }
    try:
        return type(original.__name__, (ExecutionError, original), body)
    except TypeError:
        return None


def _resolve(error_type: str) -> type[Exception] | None:
    parts = error_type.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            __import__(name)
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt):
                raise
            continue
        found: object = sys.modules[name]
        for part in parts[cut:]:
            found = getattr(found, part, None)
        if isinstance(found, type) and issubclass(found, Exception) and found is not Exception:
            return found
        return None
    return None
