"""The execution that this process runs, if any."""

from __future__ import annotations

import contextvars
import os
from _thread import allocate_lock
from itertools import count

from coflux import _codec
from coflux._channel import Channel, RequestFailed

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeAlias

    Key: TypeAlias = tuple[str, str]  # kind of handle, id

group_id: contextvars.ContextVar[int | None] = contextvars.ContextVar("coflux_group", default=None)

# How long a wait may take before the execution is suspended, in milliseconds; None: for ever.
patience: contextvars.ContextVar[int | None] = contextvars.ContextVar("coflux_patience", default=None)

_current: Context | None = None


class Submission:
    """A submission on its way. Its reply is taken when somebody needs it; any thread may."""

    def __init__(self, context: Context, number: int) -> None:
        self._context = context
        self._number = number
        self._lock = allocate_lock()
        self._id: str | None = None
        self._refusal: RuntimeError | None = None

    def execution_id(self) -> str:
        """The id of what was submitted; raises when it was refused, each time."""
        with self._lock:
            if self._id is None and self._refusal is None:
                try:
                    self._id = self._context.submitted(self._number)["execution_id"]
                except RuntimeError as exc:
                    self._refusal = exc
            if self._refusal is not None:
                raise type(self._refusal)(str(self._refusal))
            assert self._id is not None
            return self._id


class Context:
    """Everything a running body asks of the engine."""

    def __init__(self, channel: Channel, execution_id: str, directory: str) -> None:
        self.channel = channel
        self.execution_id = execution_id
        self.directory = directory  # for value files
        self.over = False  # the final message was sent, nothing after it is heard
        self.metrics: Any = None  # what _metrics remembers of this execution
        self._groups = count()
        self._submissions: dict[int, Submission] = {}  # sent and not yet answered, in order
        self._outcomes: dict[Key, dict[str, Any]] = {}

    def submit(self, params: dict[str, object]) -> Submission:
        """Sends a submission without waiting for the reply; what nobody asks about is looked at by settle."""
        number = self.start("submit_execution", params)
        submission = Submission(self, number)
        self._submissions[number] = submission
        return submission

    def submitted(self, number: int) -> Any:
        self._submissions.pop(number, None)
        return self.finish(number)

    def settle(self) -> None:
        """Waits for every submission that nobody asked about; a refused one raises here."""
        while self._submissions:
            for submission in list(self._submissions.values()):
                submission.execution_id()

    def known(self, key: Key) -> dict[str, Any] | None:
        """The outcome if it was seen before: the first one stays."""
        return self._outcomes.get(key)

    def select(
        self, keys: list[Key], timeout_ms: int | None, suspend: bool, cancel_remaining: bool = False
    ) -> tuple[int, dict[str, Any]] | None:
        """The first of the handles that is final, by its index, and how it ended; None when the time is over before."""
        first = self.known(keys[0])
        if first is not None and (len(keys) == 1 or not cancel_remaining):
            return 0, first
        params: dict[str, object] = {"handles": _handles(keys), "suspend": suspend}
        if timeout_ms is not None:
            params["timeout_ms"] = timeout_ms
        if cancel_remaining:
            params["cancel_remaining"] = True
        found = self.ask("select", params)
        if found is None:
            return None
        winner: int = found["winner"]
        return winner, self._outcomes.setdefault(keys[winner], found)

    def cancel(self, keys: list[Key]) -> None:
        if keys:
            self.ask("cancel", {"handles": _handles(keys)})

    def suspend(self, execute_after: int | None, delay: int | None) -> NoReturn:
        """execute_after: epoch milliseconds; delay: what that was made of, if it was, which no clock can bend."""
        params: dict[str, object] = {} if execute_after is None else {"execute_after": execute_after}
        if delay is not None:
            params["delay"] = delay
        self.ask("suspend", params)
        self.channel.drain()
        os._exit(0)

    def open_group(self, name: str | None) -> int:
        number = next(self._groups)
        self.notify("register_group", {"group_id": number, "name": name})
        return number

    def log(self, level: int, template: str | None, values: dict[str, object]) -> None:
        params: dict[str, object] = {"level": level}
        if template is not None:
            params["template"] = template
        if values:
            params["values"] = {key: self._shown(value) for key, value in values.items()}
        self.notify("log", params)

    def _shown(self, value: object) -> dict[str, object]:
        try:
            return self.serialize(value)
        except Exception:  # a log line must not end what it tells about
            return self.serialize(repr(value))

    def serialize(self, value: object, canonical: bool = False) -> dict[str, object]:
        return _codec.serialize(value, self.directory, canonical)

    def notify(self, method: str, params: dict[str, object]) -> None:
        self.channel.notify(method, {"execution_id": self.execution_id, **params})

    def ask(self, method: str, params: dict[str, object]) -> Any:
        return self.finish(self.start(method, params))

    def start(self, method: str, params: dict[str, object]) -> int:
        """Sends a request; finish gives its reply, or raises the refusal."""
        return self.channel.request(method, {"execution_id": self.execution_id, **params})

    def finish(self, number: int) -> Any:
        try:
            return self.channel.wait(number)
        except RequestFailed as exc:
            # A NotImplementedError is a RuntimeError, so both ways to catch a refusal work.
            kind = NotImplementedError if "not supported yet" in str(exc) else RuntimeError
            raise kind(str(exc)) from None


def _handles(keys: list[Key]) -> list[dict[str, str]]:
    return [{"type": kind, "id": name} for kind, name in keys]


def enter(context: Context) -> None:
    global _current
    _current = context


def leave() -> None:
    global _current
    _current = None


def active() -> bool:
    # A process forked by user code shares the descriptors but is not the execution.
    return _current is not None and _current.channel.pid == os.getpid()


def current() -> Context:
    if _current is None or not active():
        raise RuntimeError("Not in an execution context")
    return _current
