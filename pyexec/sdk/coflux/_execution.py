"""Handles of executions."""

from __future__ import annotations

from coflux import _context


class Execution:
    """Names an execution; may be passed as an argument and returned.

    Fresh from submit it does not know its id yet: the reply is awaited where the id is first needed.
    """

    def __init__(self, execution_id: str | None, module: str, target: str, *, _pending: int | None = None) -> None:
        self._id = execution_id
        self._pending = _pending
        self._module = module
        self._target = target

    @property
    def id(self) -> str:
        if self._id is None:
            if self._pending is None:
                raise RuntimeError(f"the submission of {self._module}/{self._target} was refused")
            pending, self._pending = self._pending, None
            self._id = _context.current().submitted(pending)["execution_id"]
        return self._id

    @property
    def module(self) -> str:
        return self._module

    @property
    def target(self) -> str:
        return self._target

    def result(self):
        """Waits for the end and returns the value, or raises what the execution raised."""
        context = _context.current()
        outcome = context.outcome(self.id, None, True)
        if outcome is None:
            raise TimeoutError("the wait ended without an outcome")
        return _context.value_of(outcome)

    def poll(self, timeout: float | None = None, default=None):
        """The value if there is one within timeout seconds (None or 0: do not wait), else default."""
        context = _context.current()
        outcome = context.outcome(self.id, int((timeout or 0) * 1000), False)
        return default if outcome is None else _context.value_of(outcome)

    def cancel(self) -> None:
        """Cancels the execution and what it started; nothing happens when it is finished."""
        _context.current().cancel(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Execution) and (self is other or self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Execution {self._id or '(being submitted)'} {self._module}/{self._target}>"
