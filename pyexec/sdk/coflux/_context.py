"""The execution that this process runs, if any."""

from __future__ import annotations

import contextvars
import os

from coflux import _codec, _errors
from coflux._channel import Channel, RequestFailed

group_id: contextvars.ContextVar[int | None] = contextvars.ContextVar("coflux_group", default=None)

_current: "Context | None" = None


class Context:
    """Everything a running body asks of the engine."""

    def __init__(self, channel: Channel, execution_id: str, directory: str) -> None:
        self.channel = channel
        self.execution_id = execution_id
        self.directory = directory  # for value files
        self.over = False  # the final message was sent, nothing after it is heard
        self._groups = 0
        self._submits: dict[int, None] = {}  # sent and not yet answered, in order
        self._outcomes: dict[str, dict] = {}

    def submit(self, params: dict) -> int:
        """Sends a submission without waiting; its reply is taken by submitted or, unasked, by settle."""
        number = self.channel.request("submit_execution", {"execution_id": self.execution_id, **params})
        self._submits[number] = None
        return number

    def submitted(self, number: int) -> dict:
        self._submits.pop(number, None)
        return self._wait(number)

    def settle(self) -> None:
        """Waits for every submission that nobody asked about; a refused one raises here."""
        for number in list(self._submits):
            if number in self._submits:
                self.submitted(number)

    def outcome(self, execution_id: str, timeout_ms: int | None, suspend: bool) -> dict | None:
        """How the execution ended; None when the time is over first. The first outcome seen stays."""
        if execution_id in self._outcomes:
            return self._outcomes[execution_id]
        params: dict = {"handles": [{"type": "execution", "id": execution_id}], "suspend": suspend}
        if timeout_ms is not None:
            params["timeout_ms"] = timeout_ms
        found = self._ask("select", params)
        if found is not None:
            self._outcomes[execution_id] = found
        return found

    def cancel(self, execution_id: str) -> None:
        self._ask("cancel", {"handles": [{"type": "execution", "id": execution_id}]})

    def open_group(self, name: str | None) -> int:
        number = self._groups
        self._groups += 1
        params = {"execution_id": self.execution_id, "group_id": number, "name": name}
        self.channel.notify("register_group", params)
        return number

    def log(self, level: int, template: str | None, values: dict) -> None:
        params: dict = {"execution_id": self.execution_id, "level": level}
        if template is not None:
            params["template"] = template
        if values:
            params["values"] = {key: self.serialize(value) for key, value in values.items()}
        self.channel.notify("log", params)

    def serialize(self, value: object) -> dict:
        return _codec.serialize(value, self.directory)

    def _ask(self, method: str, params: dict):
        return self._wait(self.channel.request(method, {"execution_id": self.execution_id, **params}))

    def _wait(self, number: int):
        try:
            return self.channel.wait(number)
        except RequestFailed as exc:
            raise RuntimeError(str(exc)) from None


def value_of(outcome: dict) -> object:
    """The value of an outcome, or its exception."""
    status = outcome["status"]
    if status == "ok":
        return _codec.deserialize(outcome.get("value"))
    if status == "error":
        error = outcome.get("error") or {}
        raise _errors.rebuild(error.get("type") or "", error.get("message") or "")
    if status == "cancelled":
        raise _errors.ExecutionCancelled()
    if status == "timeout":
        raise _errors.ExecutionTimeout()
    if status == "abandoned":
        raise _errors.ExecutionAbandoned()
    raise RuntimeError(f"unknown select status: {status}")


def enter(context: Context) -> None:
    global _current
    _current = context


def active() -> bool:
    # A process forked by user code shares the descriptors but is not the execution.
    return _current is not None and _current.channel.pid == os.getpid()


def current() -> Context:
    if _current is None or not active():
        raise RuntimeError("Not in an execution context")
    return _current
