"""python -m coflux discover: prints the manifest of modules."""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import sys

from typing import Any

from coflux import _errors, _snapshot, _target, _traceback


def main(names: list[str]) -> int:
    # The manifest must be alone on stdout, whatever the modules print while they are imported.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    recorder = None
    if os.environ.get("COFLUX_SNAPSHOT"):
        roots = os.environ.get("COFLUX_CODE_ROOTS", "").split(os.pathsep)
        recorder = _snapshot.record(os.environ["COFLUX_SNAPSHOT"], [root for root in roots if root])
    errors: list[dict[str, Any]] = []
    modules = load(names, errors)
    manifest: dict[str, Any] = {"targets": manifest_targets(modules)}
    if errors:
        manifest["errors"] = errors
    if recorder is not None:
        recorder.finish()
        files = {entry[0] for entry in recorder.modules.values()}
        files.update(error["file"] for error in errors if error.get("file"))
        manifest["files"] = sorted(files)
    try:
        sys.stdout.flush()
    except OSError:
        pass
    out.write(json.dumps(manifest) + "\n")
    out.flush()
    os._exit(0)  # threads that a module has started must not keep this process


def load(names: list[str], errors: list[dict[str, Any]]) -> list[Any]:
    """Imports the modules, and those inside them when they are packages, each once."""
    found: dict[str, object] = {}
    for name in names:
        _load(name, found, errors)
    return list(found.values())


def _load(name: str, found: dict[str, object], errors: list[dict[str, Any]]) -> None:
    if name in found:
        return
    try:
        __import__(name)
        module = sys.modules[name]
    except (Exception, SystemExit) as exc:
        print(f"Warning: Failed to import module {name}: {exc}", file=sys.stderr)
        errors.append(_describe(name, exc))
        return
    found[name] = module
    for info in pkgutil.iter_modules(getattr(module, "__path__", None) or []):
        if not info.name.startswith("_"):
            _load(f"{name}.{info.name}", found, errors)


def _describe(name: str, exc: BaseException) -> dict[str, Any]:
    described = {
        "module": name,
        "type": _errors.type_name(exc),
        "message": str(exc),
        "traceback": _traceback.text(exc),
    }
    if isinstance(exc, SyntaxError) and exc.filename:
        described["file"] = os.path.abspath(exc.filename)
    return described


def manifest_targets(modules: list[Any]) -> list[dict[str, Any]]:
    seen: set[int] = set()
    listed = []
    for module in modules:
        for _, target in sorted(vars(module).items()):
            if isinstance(target, _target.Target) and not target.stub and not target.copy and id(target) not in seen:
                seen.add(id(target))
                listed.append(describe_target(module.__name__, target))
    return listed


def describe_target(module: str, target: _target.Target[..., Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "module": module,
        "name": target.name,
        "type": target.kind,
        "parameters": [_parameter(parameter) for parameter in _signature(target.fn).parameters.values()],
    }
    options = target.options.wire()
    if options.get("memo") is False:  # for calls; a manifest says what is on
        del options["memo"]
    described.update(options)
    if target.limits:
        described["limits"] = target.limits
    text = inspect.getdoc(target.fn)
    if text:
        described["instruction"] = text[:5000]
    return described


def _signature(fn: Any) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib

        # As they are written: evaluating annotations that name something unknown would raise.
        return inspect.signature(fn, annotation_format=annotationlib.Format.STRING)
    return inspect.signature(fn)


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    default = annotation = None
    if parameter.default is not parameter.empty:
        try:
            default = json.dumps(parameter.default, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError):
            pass  # not JSON: shown as having none, Python applies it all the same
    if parameter.annotation is not parameter.empty:
        annotation = parameter.annotation if isinstance(parameter.annotation, str) else _annotation(parameter.annotation)
    return {"name": parameter.name, "annotation": annotation, "default": default}


def _annotation(value: object) -> str:
    return value.__qualname__ if isinstance(value, type) and value.__module__ == "builtins" else str(value)
