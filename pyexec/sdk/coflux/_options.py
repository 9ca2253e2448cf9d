"""What a target may ask for, and how that is written on the wire (adapter protocol 1.1 and 4.1)."""

from __future__ import annotations

import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from typing import TypeAlias

    Duration: TypeAlias = float | timedelta
    Names: TypeAlias = Iterable[str] | str
    When: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
    Tags: TypeAlias = Mapping[str, str | bool | Iterable[str]]


class _Frozen:
    """What dataclass(frozen=True) makes, whose import would cost every process some milliseconds."""

    __slots__ = ()

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _values(self) -> dict[str, object]:
        slots: tuple[str, ...] = self.__slots__
        return {name: getattr(self, name) for name in slots}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"

    def __getstate__(self) -> dict[str, object]:
        return self._values()

    def __setstate__(self, state: dict[str, object]) -> None:
        self._set(**state)


class Cache(_Frozen):
    """Use an earlier result of equal arguments.

    max_age: how old it may be, seconds or a timedelta; None: any age. params: the parameters that make up the key, None:
    all. namespace: what shares results, by default the target. version: a change of it makes older results unused.
    """

    __slots__ = ("max_age", "params", "namespace", "version")
    max_age: Duration | None
    params: Names | None
    namespace: str | None
    version: str | None

    def __init__(
        self,
        max_age: Duration | None = None,
        *,
        params: Names | None = None,
        namespace: str | None = None,
        version: str | None = None,
    ) -> None:
        self._set(max_age=max_age, params=_frozen_names(params), namespace=namespace, version=version)

    def wire(self, parameters: tuple[str, ...]) -> dict[str, object]:
        out: dict[str, object] = {"params": True}
        if self.params is not None:
            out["params"] = indexes("Cache.params", self.params, parameters)
        if self.max_age is not None:
            out["max_age_ms"] = milliseconds("max_age", self.max_age)
        if self.namespace:
            out["namespace"] = self.namespace
        if self.version:
            out["version"] = self.version
        return out


class Defer(_Frozen):
    """Of several calls that wait to start only the newest runs. params: the parameters that must be equal, None: all."""

    __slots__ = ("params",)
    params: Names | None

    def __init__(self, *, params: Names | None = None) -> None:
        self._set(params=_frozen_names(params))

    def wire(self, parameters: tuple[str, ...]) -> dict[str, object]:
        if self.params is None:
            return {"params": True}
        return {"params": indexes("Defer.params", self.params, parameters)}


class Retries(_Frozen):
    """Run again after a failure.

    limit: how many times, None: for ever. backoff: the shortest and the longest pause, seconds or timedeltas. when: an
    exception class, a tuple of them, or a function of the exception; only errors it accepts are retried.
    """

    __slots__ = ("limit", "backoff", "when")
    limit: int | None
    backoff: tuple[Duration, Duration]
    when: When | None

    def __init__(
        self,
        limit: int | None = None,
        *,
        backoff: tuple[Duration, Duration] = (1, 60),
        when: When | None = None,
    ) -> None:
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ValueError(f"Retries: limit must be None or a whole number from 0, not {limit!r}")
        shortest, longest = backoff
        if milliseconds("backoff", shortest) > milliseconds("backoff", longest):
            raise ValueError(f"Retries: the first of backoff={backoff!r} must not be the longer one")
        classes = when if isinstance(when, tuple) else (when,)
        if when is not None and not callable(when) and not all(_is_exception(entry) for entry in classes):
            raise TypeError(f"Invalid 'when' argument: {when!r}")
        self._set(limit=limit, backoff=(shortest, longest), when=when)

    def wire(self) -> dict[str, object]:
        out: dict[str, object] = {}
        if self.limit is not None:
            out["limit"] = self.limit
        for key, bound in zip(("backoff_min_ms", "backoff_max_ms"), self.backoff):
            if milliseconds("backoff", bound):
                out[key] = milliseconds("backoff", bound)
        return out

    def accepts(self, exc: Exception) -> bool | None:
        """Whether the error may be retried; None when nobody asked to choose."""
        if self.when is None:
            return None
        if isinstance(self.when, tuple) or _is_exception(self.when):
            return isinstance(exc, self.when)  # type: ignore[arg-type]
        return bool(self.when(exc))


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


class Options:
    """The options of one target, in one form each. Targets share them, so they are not changed."""

    wait: list[int]
    cache: Cache | None
    retries: Retries | None
    defer: Defer | None
    memo: bool | list[int] | None  # None: as the run has it
    requires: dict[str, list[str]]
    recurrent: bool
    durable: bool
    delay_ms: int
    timeout_ms: int

    def __init__(self, parameters: tuple[str, ...]) -> None:
        self._parameters = parameters
        self.wait = []
        self.cache = None
        self.retries = None
        self.defer = None
        self.memo = None
        self.requires = {}
        self.recurrent = False
        self.durable = False
        self.delay_ms = 0
        self.timeout_ms = 0

    def replaced(self, **changes: object) -> Options:
        """A copy with these options, given as the decorators take them."""
        copy = Options(self._parameters)
        vars(copy).update(vars(self))
        for name, value in changes.items():
            _SETTERS[name](copy, value)
        return copy

    def wire(self) -> dict[str, object]:
        """The options that are on, as both a submission and a manifest write them."""
        out: dict[str, object] = {}
        if self.wait:
            out["wait_for"] = self.wait
        if self.cache is not None:
            out["cache"] = self.cache.wire(self._parameters)
        if self.retries is not None:
            out["retries"] = self.retries.wire()
        if self.defer is not None:
            out["defer"] = self.defer.wire(self._parameters)
        if self.memo is not None:
            out["memo"] = self.memo
        if self.requires:
            out["requires"] = self.requires
        if self.recurrent:
            out["recurrent"] = True
        if self.durable:
            out["durable"] = True
        if self.delay_ms:
            out["delay"] = self.delay_ms
        if self.timeout_ms:
            out["timeout"] = self.timeout_ms
        return out

    def _set_wait(self, value: object) -> None:
        if isinstance(value, bool):
            self.wait = list(range(len(self._parameters))) if value else []
        else:
            self.wait = sorted(set(indexes("wait", value, self._parameters)))

    def _set_cache(self, value: object) -> None:
        if value is True:
            self.cache = Cache()
        elif isinstance(value, Cache):
            self.cache = value
        else:
            self.cache = Cache(value) if milliseconds("cache", value) else None  # type: ignore[arg-type]

    def _set_retries(self, value: object) -> None:
        if isinstance(value, bool) or value is None:
            value = Retries() if value else Retries(0)
        elif isinstance(value, int):
            value = Retries(value, backoff=(0, 0))
        elif not isinstance(value, Retries):
            raise TypeError(f"retries must be a number, a bool or Retries, not {value!r}")
        self.retries = None if value.limit == 0 else value

    def _set_defer(self, value: object) -> None:
        if not isinstance(value, Defer) and not isinstance(value, bool) and value is not None:
            raise TypeError(f"defer must be a bool or Defer, not {value!r}")
        self.defer = value if isinstance(value, Defer) else Defer() if value else None

    def _set_memo(self, value: object) -> None:
        if value is None or isinstance(value, bool):
            self.memo = value
        else:
            self.memo = indexes("memo", value, self._parameters)

    def _set_requires(self, value: object) -> None:
        self.requires = tags(value)

    def _set_recurrent(self, value: object) -> None:
        self.recurrent = bool(value)

    def _set_durable(self, value: object) -> None:
        self.durable = bool(value)

    def _set_delay(self, value: object) -> None:
        self.delay_ms = milliseconds("delay", value)

    def _set_timeout(self, value: object) -> None:
        self.timeout_ms = milliseconds("timeout", value)


_SETTERS: dict[str, Callable[[Options, object], None]] = {
    name.removeprefix("_set_"): setter for name, setter in vars(Options).items() if name.startswith("_set_")
}


def milliseconds(name: str, value: object) -> int:
    """Of seconds or a timedelta, cut off to whole ones."""
    if "datetime" in sys.modules and isinstance(value, sys.modules["datetime"].timedelta):
        value = value.total_seconds()
    if value is None:
        return 0
    if not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be seconds or a timedelta, not {value!r}")
    if not 0 <= value < 1e12:
        raise ValueError(f"{name} must be a time from 0, not {value!r}")
    return int(value * 1000)


def names(value: object) -> tuple[str, ...]:
    """Of several names: a string is split at its commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value)  # type: ignore[arg-type]


def indexes(option: str, value: object, parameters: tuple[str, ...]) -> list[int]:
    """The positions of the named parameters, in the order in which they are named."""
    found = []
    for name in names(value):
        if name not in parameters:
            raise ValueError(f"Unrecognised parameter in {option} ({name})")
        found.append(parameters.index(name))
    return found


def tags(value: object) -> dict[str, list[str]]:
    """Tags in their one form: a list of texts for each name."""
    out: dict[str, list[str]] = {}
    for name, given in dict(value or {}).items():  # type: ignore[call-overload]
        if isinstance(given, bool):
            out[name] = ["true" if given else "false"]
        elif isinstance(given, str):
            out[name] = [given]
        else:
            out[name] = list(given)
        if not isinstance(name, str) or not all(isinstance(entry, str) for entry in out[name]):
            raise TypeError(f"requires must map names to a string, a bool or a list of strings, not {name!r} to {given!r}")
    return out


def _frozen_names(value: Names | None) -> Names | None:
    return value if value is None or isinstance(value, str) else tuple(value)
