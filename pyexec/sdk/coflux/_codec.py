"""Python values to the wire and back (adapter protocol, typed wrappers)."""

from __future__ import annotations

import os
import sys

from coflux import _json

# A payload above this goes into a file.
INLINE_LIMIT = 65536

_files = 0


def serialize(value: object, directory: str) -> dict:
    """The wire value; above the limit its text is put into a new file in the directory."""
    references: list[list] = []
    try:
        encoded = encode(value, references)
        text = _json.dumps(encoded)
    except RecursionError:
        raise ValueError("the value contains itself or is nested too deeply to be passed") from None
    except ValueError as exc:
        if "JSON compliant" in str(exc):
            raise ValueError("NaN and Infinity cannot be passed: JSON has no such numbers") from None
        raise
    if len(text) > INLINE_LIMIT:
        return {"type": "file", "format": "json", "path": _write(text, directory), "references": references}
    return {"type": "inline", "format": "json", "value": encoded, "references": references}


def deserialize(value: dict | None) -> object:
    """The Python value of a wire value; an unknown kind of value counts as null."""
    if value is None:
        return None
    kind = value.get("type")
    if kind not in ("inline", "file"):
        return None
    name = value.get("format", "json")
    if name != "json":
        raise ValueError(f"Unknown format '{name}'; this version of the package reads json only")
    references = value.get("references") or []
    if kind == "inline":
        return decode(value.get("value"), references)
    with open(value["path"], "rb") as file:
        return decode(_json.loads(file.read()), references)


def encode(value: object, references: list[list]) -> object:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [encode(item, references) for item in value]
    if isinstance(value, dict):
        return {"type": "dict", "items": _encode_pairs(value, references)}
    if isinstance(value, (set, frozenset)):
        return {"type": "set", "items": [encode(item, references) for item in sorted(value, key=repr)]}
    if isinstance(value, tuple):
        return {"type": "tuple", "items": [encode(item, references) for item in value]}
    return _encode_other(value, references)


def _encode_pairs(value: dict, references: list[list]) -> list:
    keys = list(value)
    if "collections" not in sys.modules or not isinstance(value, sys.modules["collections"].OrderedDict):
        keys.sort(key=repr)
    items: list = []
    for key in keys:
        items.append(encode(key, references))
        items.append(encode(value[key], references))
    return items


def _encode_other(value: object, references: list[list]) -> dict:
    from coflux._execution import Execution

    if isinstance(value, Execution):
        references.append(["execution", value.id, value.module, value.target])
        return {"type": "ref", "index": len(references) - 1}
    # A value of these classes exists only if its module was imported, so nothing is imported for the question.
    if "datetime" in sys.modules:
        datetime = sys.modules["datetime"]
        if isinstance(value, datetime.datetime):
            return {"type": "datetime", "value": value.isoformat()}
        if isinstance(value, datetime.date):
            return {"type": "date", "value": value.isoformat()}
        if isinstance(value, datetime.time):
            return {"type": "time", "value": value.isoformat()}
        if isinstance(value, datetime.timedelta):
            return {"type": "duration", "value": value.total_seconds()}
    if "decimal" in sys.modules and isinstance(value, sys.modules["decimal"].Decimal):
        return {"type": "decimal", "value": str(value)}
    if "uuid" in sys.modules and isinstance(value, sys.modules["uuid"].UUID):
        return {"type": "uuid", "value": str(value)}
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise TypeError(f"a value of type {name} cannot be passed yet")


def decode(value: object, references: list[list]) -> object:
    if isinstance(value, list):
        return [decode(item, references) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    return decoder(value, references) if decoder else value


def _dict(value: dict, references: list[list]) -> dict:
    items = [decode(item, references) for item in value["items"]]
    return dict(zip(items[::2], items[1::2]))


def _ref(value: dict, references: list[list]) -> object:
    index = value.get("index")
    if not isinstance(index, int) or not 0 <= index < len(references):
        return None
    reference = references[index]
    if reference and reference[0] == "execution":
        from coflux._execution import Execution

        module, target = (list(reference[2:4]) + [None, None])[:2]
        return Execution(reference[1], module, target)
    raise TypeError(f"a reference of kind {reference[0] if reference else '?'} cannot be received yet")


def _moment(value: dict, references: list[list]) -> object:
    import datetime

    text = value["value"]
    if text.endswith("Z"):  # Python 3.10 does not know it
        text = text[:-1] + "+00:00"
    return getattr(datetime, value["type"]).fromisoformat(text)


def _duration(value: dict, references: list[list]) -> object:
    import datetime

    return datetime.timedelta(seconds=value["value"])


def _decimal(value: dict, references: list[list]) -> object:
    import decimal

    return decimal.Decimal(value["value"])


def _uuid(value: dict, references: list[list]) -> object:
    import uuid

    return uuid.UUID(value["value"])


_DECODERS = {
    "dict": _dict,
    "set": lambda value, references: {decode(item, references) for item in value["items"]},
    "tuple": lambda value, references: tuple(decode(item, references) for item in value["items"]),
    "datetime": _moment,
    "date": _moment,
    "time": _moment,
    "duration": _duration,
    "decimal": _decimal,
    "uuid": _uuid,
    "ref": _ref,
}


def _write(text: bytes, directory: str) -> str:
    global _files
    _files += 1
    path = os.path.join(directory, f"coflux_{os.getpid()}_{_files}.json")
    try:
        file = open(path, "xb")
    except FileNotFoundError:  # the directory is made for the first one
        os.makedirs(directory, 0o700, exist_ok=True)
        file = open(path, "xb")
    with file:
        file.write(text)
    return path
