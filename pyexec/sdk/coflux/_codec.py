"""Python values to the wire and back (adapter protocol 3, typed wrappers)."""

from __future__ import annotations

import os
import sys
from itertools import count

from coflux import _json

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    References: TypeAlias = list[list[Any]]

# A payload above this goes into a file.
INLINE_LIMIT = 65536

_files = count(1)


def serialize(value: object, directory: str, canonical: bool = False) -> dict[str, object]:
    """The wire value; its fragments, and above the limit its text, are put into new files in the directory.

    Dicts keep their order; canonical: they are sorted (all but OrderedDict), so that equal values look alike.
    """
    encoder = Encoder(directory, canonical)
    try:
        encoded = encoder.encode(value)
        text = _json.dumps(encoded)
    except RecursionError:
        raise ValueError("the value contains itself or is nested too deeply to be passed") from None
    if len(text) > INLINE_LIMIT:
        path = write_file(text, directory, ".json")
        return {"type": "file", "format": "json", "path": path, "references": encoder.references}
    return {"type": "inline", "format": "json", "value": encoded, "references": encoder.references}


def deserialize(value: dict[str, Any] | None) -> Any:
    """The Python value of a wire value; an unknown kind of value counts as null."""
    if value is None or value.get("type") not in ("inline", "file"):
        return None
    if value.get("format", "json") != "json":
        from coflux import _fragments

        return _fragments.decode_legacy(value)
    return decode(plain(value), value.get("references") or [])


def plain(value: dict[str, Any] | None) -> Any:
    """The JSON of a wire value as it is."""
    if value is None or value.get("type") not in ("inline", "file"):
        return None
    if value["type"] == "inline":
        return value.get("value")
    with open(value["path"], "rb") as file:
        return _json.loads(file.read())


class Encoder:
    """Encodes one value; references are numbered in the order in which they are met."""

    def __init__(self, directory: str, canonical: bool) -> None:
        self.directory = directory
        self.canonical = canonical
        self.references: References = []
        self._not_finite: dict[str, dict[str, object]] = {}

    def encode(self, value: Any) -> object:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if value - value == 0 else self._no_number(float(value))
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, dict):
            return {"type": "dict", "items": self._pairs(value)}
        if isinstance(value, (set, frozenset)):
            return {"type": "set", "items": [self.encode(item) for item in sorted(value, key=repr)]}
        if isinstance(value, tuple):
            return {"type": "tuple", "items": [self.encode(item) for item in value]}
        return self._scalar(value) or self._reference(value)

    def _pairs(self, value: dict[Any, Any]) -> list[object]:
        items: list[object] = []
        ordered = "collections" in sys.modules and isinstance(value, sys.modules["collections"].OrderedDict)
        for key in sorted(value, key=repr) if self.canonical and not ordered else value:
            items.append(self.encode(key))
            items.append(self.encode(value[key]))
        return items

    def _scalar(self, value: Any) -> dict[str, object] | None:
        # A value of these classes exists only if its module was imported, so nothing is imported for the question.
        if "datetime" in sys.modules:
            datetime = sys.modules["datetime"]
            for kind in ("datetime", "date", "time"):
                if isinstance(value, getattr(datetime, kind)):
                    return {"type": kind, "value": value.isoformat()}
            if isinstance(value, datetime.timedelta):
                return {"type": "duration", "value": value.total_seconds()}
        for kind, name in (("decimal", "Decimal"), ("uuid", "UUID")):
            if kind in sys.modules and isinstance(value, getattr(sys.modules[kind], name)):
                return {"type": kind, "value": str(value)}
        return None

    def _no_number(self, value: float) -> dict[str, object]:
        """NaN and the infinities, which JSON does not have; of each one fragment is enough."""
        name = repr(value)
        if name not in self._not_finite:
            from coflux import _fragments

            self._not_finite[name] = self._refer(self._fragment(*_fragments.pickled(value, self.directory)))
        return self._not_finite[name]

    def _reference(self, value: Any) -> object:
        from coflux._handles import Execution, Input

        if isinstance(value, Execution):
            return self._refer(["execution", value.id, value.module, value.target])
        if isinstance(value, Input):
            return self._refer(["input", value.id])
        if isinstance(value, (bytes, bytearray)):
            return self._refer(self._fragment("bytes", write_file(value, self.directory, ".bin"), {}))
        if "coflux._assets" in sys.modules and isinstance(value, sys.modules["coflux._assets"].Asset):
            return self._refer(["asset", value.id, *value.metadata])
        from coflux import _fragments

        made = _fragments.encode(value, self.directory)
        return repr(value) if made is None else self._refer(self._fragment(*made))

    def _refer(self, reference: list[Any]) -> dict[str, object]:
        self.references.append(reference)
        return {"type": "ref", "index": len(self.references) - 1}

    def _fragment(self, format: str, path: str, metadata: dict[str, str]) -> list[Any]:
        return ["fragment", format, path, os.path.getsize(path), metadata]


def decode(value: Any, references: References) -> Any:
    if isinstance(value, list):
        return [decode(item, references) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    return decoder(value, references) if decoder else value


def _dict(value: dict[str, Any], references: References) -> dict[Any, Any]:
    items = [decode(item, references) for item in value["items"]]
    return dict(zip(items[::2], items[1::2]))


def _ref(value: dict[str, Any], references: References) -> Any:
    index = value.get("index")
    if not isinstance(index, int) or not 0 <= index < len(references) or not references[index]:
        return None
    kind, *parts = references[index]
    parts += [None] * 4
    if kind == "fragment":
        from coflux import _fragments

        return _fragments.decode(parts[0], parts[1], parts[3] or {})
    from coflux import _handles

    if kind == "execution":
        return _handles.Execution(parts[0], parts[1], parts[2])
    if kind == "input":
        return _handles.Input(parts[0])
    if kind == "asset":
        from coflux import _assets

        return _assets.Asset(parts[0], _assets.AssetMetadata(parts[1] or None, parts[2] or 0, parts[3] or 0))
    raise TypeError(f"a reference of kind {kind} is not known to this version of the package")


def moment(value: Any, kind: Any) -> Any:
    """The date, time or datetime that a text stands for, if that is what is wanted."""
    if kind not in _moments() or not isinstance(value, str):
        return value
    if value.endswith("Z"):  # Python 3.10 does not know it
        value = value[:-1] + "+00:00"
    return kind.fromisoformat(value)


def _moments() -> tuple[type, ...]:
    datetime = sys.modules.get("datetime")
    return () if datetime is None else (datetime.datetime, datetime.date, datetime.time)


def _moment(value: dict[str, Any], references: References) -> Any:
    import datetime

    return moment(value["value"], getattr(datetime, value["type"]))


def _duration(value: dict[str, Any], references: References) -> Any:
    import datetime

    return datetime.timedelta(seconds=value["value"])


def _decimal(value: dict[str, Any], references: References) -> Any:
    import decimal

    return decimal.Decimal(value["value"])


def _uuid(value: dict[str, Any], references: References) -> Any:
    import uuid

    return uuid.UUID(value["value"])


_DECODERS: dict[str, Callable[[dict[str, Any], References], Any]] = {
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


def write_file(data: bytes | bytearray, directory: str, suffix: str) -> str:
    """A new file that the engine takes over when it is sent."""
    if not os.path.isdir(directory):  # it is made for the first one
        os.makedirs(directory, 0o700, exist_ok=True)
    path = os.path.join(directory, f"coflux_{os.getpid()}_{next(_files)}_{os.urandom(4).hex()}{suffix}")
    with open(path, "xb", opener=_private) as file:
        file.write(data)
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
