"""What each process of a body may use: limits={"memory": "2G", "cpu": 60, "files": 1024}."""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Union

    Limits = Mapping[str, Union[int, str]]

_LEAST = {"memory": 32 << 20, "cpu": 1, "files": 32}
_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
_CPU_GRACE = 1  # seconds of processor time between SIGXCPU and SIGKILL


def parse(limits: object) -> dict[str, int]:
    """Bytes of memory, seconds of processor time, number of open files."""
    if limits is None:
        return {}
    if not isinstance(limits, dict):
        raise TypeError(f'limits must be a dict such as {{"memory": "2G", "cpu": 60}}, not {type(limits).__name__}')
    parsed = {}
    for name, value in limits.items():
        if name not in _LEAST:
            raise ValueError(f"there is no limit {name!r}: the limits are memory, cpu and files")
        number = _bytes(value) if name == "memory" and isinstance(value, str) else value
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"the limit {name} cannot be {value!r}: give a whole number" + (", or a size such as '2G'" if name == "memory" else ""))
        if number < _LEAST[name]:
            raise ValueError(f"the limit {name} cannot be {value!r}: it must be at least {_LEAST[name]}")
        parsed[name] = number
    return parsed


def apply(limits: dict[str, int]) -> None:
    """Bounds this process; what the node allows at most stays in force."""
    import resource

    kinds = {"memory": resource.RLIMIT_DATA, "cpu": resource.RLIMIT_CPU, "files": resource.RLIMIT_NOFILE}
    for name, value in limits.items():
        soft, hard = (number if number != resource.RLIM_INFINITY else 1 << 62 for number in resource.getrlimit(kinds[name]))
        soft = min(value, soft)
        hard = min(soft + (_CPU_GRACE if name == "cpu" else 0), hard)
        resource.setrlimit(kinds[name], (soft, hard))


def _bytes(text: str) -> int | None:
    digits, shift = text, 0
    if text[-1:] in _UNITS:
        digits, shift = text[:-1], _UNITS[text[-1]]
    return int(digits) << shift if digits.isascii() and digits.isdigit() else None
