"""python -m coflux execute: runs one execution."""

from __future__ import annotations

import _thread
import atexit
import os
import sys

from coflux import _context, _errors, _handles, _json, _limits, _output, _snapshot, _target
from coflux._channel import Channel, flush_real_streams
from coflux._codec import deserialize
from coflux._version import API_VERSION

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

_READY = _json.dumps({"method": "ready", "params": {"version": API_VERSION}}) + b"\n"


def main(channel: Channel | None = None) -> int:
    code = run(channel or Channel.from_environment())
    if code is not None:
        return code
    _leave()
    return 0


def run(channel: Channel) -> int | None:
    """Waits for one execution and runs it; the exit status if there is none."""
    channel.say(_READY)
    message = channel.command()
    if message is None:
        return 0
    if message.get("method") != "execute":
        print(f"expected execute, got {message.get('method')}", file=sys.stderr)
        return 1
    execute(channel, message["params"])
    return None


def execute(channel: Channel, params: dict[str, Any]) -> None:
    directory = params.get("values_dir") or os.environ.get("TMPDIR") or "/tmp"
    context = _context.Context(channel, params["execution_id"], directory)
    if params.get("working_dir"):
        os.chdir(params["working_dir"])
    _output.install(context)
    target = None
    try:
        if params.get("snapshot") and not _snapshot.serves(params["snapshot"]):
            _snapshot.install(params["snapshot"])
        target = find(params["module"], params["target"])
        if target.limits:
            _limits.apply(target.limits)
        arguments = [deserialize(value) for value in params.get("arguments") or []]
        arguments = _handles.retype(target.fn, arguments)
        _context.enter(context)
        value = _target.run(target.fn, arguments, {})
        if os.getpid() != channel.pid:
            _leave()  # a process that user code forked has come to the end of the body: it is not the execution
        result = context.serialize(value)
        context.settle()
    except Exception as exc:
        if os.getpid() != channel.pid:
            raise
        _flush()
        context.over = True
        channel.notify("execution_error", {"execution_id": context.execution_id, "error": describe(exc, target)})
    except BaseException:  # sys.exit, Ctrl-C: the process ends without a result, but not without its words
        _flush()
        raise
    else:
        _flush()
        context.over = True
        channel.notify("execution_result", {"execution_id": context.execution_id, "result": result})


def find(module_name: str, name: str) -> _target.Target[..., Any]:
    __import__(module_name)
    found = _target.find(sys.modules[module_name], name)
    if found is None:
        raise ValueError(f"Target not found: {module_name}/{name}")
    return found


def describe(exc: Exception, target: _target.Target[..., Any] | None) -> dict[str, object]:
    from coflux import _traceback

    retryable = None
    if target is not None and target.options.retries is not None:
        try:
            retryable = target.options.retries.accepts(exc)
        except Exception as other:
            exc = other
    try:
        message = str(exc)
    except Exception:
        message = "(the exception has no readable message)"
    described: dict[str, object] = {"type": _errors.type_name(exc), "message": message, "traceback": _traceback.text(exc)}
    if retryable is not None:
        described["retryable"] = retryable
    return described


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # user code may have put anything there
    flush_real_streams()


def _leave() -> None:
    # As the interpreter ends, without the time it takes to tear every module down.
    threading = sys.modules.get("threading")
    if threading is not None and (_thread._count() or threading._threading_atexits):  # else there is nothing to wait for
        threading._shutdown()
    atexit._run_exitfuncs()
    _flush()
    os._exit(0)
