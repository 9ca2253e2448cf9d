"""Values that travel beside the JSON, in files of their own: models, tables, and what only pickle can write."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

from coflux import _codec, _json


def encode(value: Any, directory: str) -> tuple[str, str, dict[str, str]] | None:
    """Format, file and metadata; None if the value cannot be written."""
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    if model is not None and isinstance(value, model) and hasattr(value, "model_dump_json"):
        text = value.model_dump_json().encode()
        return "json", _codec.write_file(text, directory, ".json"), {"model": _model_name(type(value))}
    frame = getattr(sys.modules.get("pandas"), "DataFrame", None)
    if frame is not None and type(value) is frame:
        table = _parquet(value)
        if table is not None:
            return "parquet", _codec.write_file(table, directory, ".parquet"), {"type": "DataFrame"}
    try:
        data = pickle.dumps(value)
    except Exception:
        return None
    return _pickle(data, value, directory)


def pickled(value: Any, directory: str) -> tuple[str, str, dict[str, str]]:
    return _pickle(pickle.dumps(value), value, directory)


def _pickle(data: bytes, value: Any, directory: str) -> tuple[str, str, dict[str, str]]:
    return "pickle", _codec.write_file(data, directory, ".pickle"), {"type": type(value).__name__}


def _model_name(model: type) -> str:
    if "<locals>" in model.__qualname__:
        raise TypeError(
            f"the model {model.__qualname__} is defined inside a function, where no other process can find it: "
            "define it in the module"
        )
    return f"{model.__module__}.{model.__qualname__}"


def _parquet(frame: Any) -> bytes | None:
    """The table as Parquet; None where it has to be pickled: no Parquet library, or a table that comes back otherwise."""
    pandas = sys.modules["pandas"]
    try:
        data: bytes = frame.to_parquet(None)
        pandas.testing.assert_frame_equal(pandas.read_parquet(io.BytesIO(data)), frame, check_freq=False)
    except Exception:
        return None
    return data


def decode(format: str, path: str | None, metadata: dict[str, Any]) -> Any:
    """The value of a fragment; None for one without a file or of an unknown format."""
    if not path or format not in ("bytes", "pickle", "json", "parquet"):
        return None
    if format == "parquet":
        import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]

        return pandas.read_parquet(path)
    with open(path, "rb") as file:
        data = file.read()
    if format == "bytes":
        return data
    if format == "pickle":
        return pickle.loads(data)
    if metadata.get("model"):
        return _resolve(metadata["model"]).model_validate_json(data)
    return _json.loads(data)


def _resolve(name: str) -> Any:
    """The class of that dotted name; it may lie inside other classes."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            __import__(module)
        except ModuleNotFoundError as exc:
            if exc.name is not None and (module == exc.name or module.startswith(exc.name + ".")):
                continue
            raise
        found: Any = sys.modules[module]
        for part in parts[cut:]:
            found = getattr(found, part, None)
        if found is not None:
            return found
    raise ValueError(f"the model {name} of a value cannot be found here")


def decode_legacy(value: dict[str, Any]) -> Any:
    """A whole value in a format of older generations."""
    format, metadata = value.get("format"), value.get("metadata") or {}
    if format == "pickle" and value["type"] == "inline":
        import base64

        return pickle.loads(base64.b64decode(value["value"]))
    if format in ("pickle", "parquet") and value["type"] == "file":
        return decode(format, value["path"], metadata)
    if format == "pydantic":
        model = _resolve(f"{metadata.get('model_module')}.{metadata.get('model_class')}")
        return model.model_validate(_codec.plain(value))
    raise ValueError(f"Unknown format '{format}'")
