"""JSON without the json package: that imports re, which doubles the time in which a process gets ready.

The C parts of the standard library do the work; where they are missing or differ the json package is used.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Functions: TypeAlias = tuple[Callable[[object], bytes], Callable[[bytes], Any]]


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


class _Scan:
    """What the C scanner wants to know."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}


def _build() -> Functions:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

    plain = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, False)
    ascii_only = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
    scan = make_scanner(_Scan)  # type: ignore[arg-type]

    def dumps(value: object) -> bytes:
        # The C encoder is for containers, so the value is put into a list whose brackets are cut off.
        try:
            return "".join(plain([value], 0))[1:-1].encode()
        except UnicodeEncodeError:  # a lone surrogate: UTF-8 has no place for it
            return "".join(ascii_only([value], 0))[1:-1].encode()

    def loads(data: bytes) -> Any:
        text = data.decode().strip(" \t\r\n")
        try:
            value, end = scan(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):
            raise ValueError("not a JSON text")
        return value

    sample = {"a": [1, 2.5, True, None, "\u00e9\n"], "b": {}}
    if dumps(sample) != '{"a":[1,2.5,true,null,"\u00e9\\n"],"b":{}}'.encode() or loads(dumps(sample)) != sample:
        raise ImportError("the C parts of json differ")
    return dumps, loads


def _fall_back() -> Functions:
    import json

    plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
    ascii_only = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False)

    def dumps(value: object) -> bytes:
        try:
            return plain.encode(value).encode()
        except UnicodeEncodeError:
            return ascii_only.encode(value).encode()

    return dumps, json.loads


try:
    dumps, loads = _build()
except Exception:
    dumps, loads = _fall_back()
