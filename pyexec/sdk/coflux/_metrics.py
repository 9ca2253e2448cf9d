"""Numbers that a body records while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Any, TypeVar

from coflux import _context

T = TypeVar("T")


@dataclass(frozen=True)
class MetricGroup:
    """Metrics that are drawn together. units, lower, upper: of their common x axis."""

    name: str
    units: str | None = field(default=None, kw_only=True)
    lower: float | None = field(default=None, kw_only=True)
    upper: float | None = field(default=None, kw_only=True)

    def wire(self) -> dict[str, object]:
        given = {"group": self.name, "group_units": self.units, "group_lower": self.lower, "group_upper": self.upper}
        return {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True)
class MetricScale:
    """The y axis; metrics that name the same one share it. progress: the value is how far something has come."""

    name: str | None = None
    units: str | None = field(default=None, kw_only=True)
    progress: bool = field(default=False, kw_only=True)
    lower: float | None = field(default=None, kw_only=True)
    upper: float | None = field(default=None, kw_only=True)

    def wire(self) -> dict[str, object]:
        given = {"scale": self.name, "units": self.units, "lower": self.lower, "upper": self.upper}
        out: dict[str, object] = {key: value for key, value in given.items() if value is not None}
        if self.progress:
            out["progress"] = True
        return out


class Metric:
    """A series of numbers. throttle: how many points a second are kept at most, None: all."""

    def __init__(
        self,
        key: str,
        *,
        group: str | MetricGroup | None = None,
        scale: str | MetricScale | None = None,
        throttle: float | None = 10,
    ) -> None:
        self._key = key
        self._group = MetricGroup(group) if isinstance(group, str) else group
        self._scale = MetricScale(scale) if isinstance(scale, str) else scale
        self._throttle = throttle

    @property
    def key(self) -> str:
        return self._key

    def record(self, value: float, *, at: float | None = None) -> None:
        """Records one point. at: its place on the x axis, by default the seconds since the start.

        NaN and the infinities cannot be drawn and are left out.
        """
        context = _context.current()
        value, at = _plain(value), None if at is None else _plain(at)
        if value - value != 0 or at is not None and at - at != 0:
            return
        if context.metrics is None:
            context.metrics = _Defined()
        if context.metrics.add(self._key, self._group, self._scale):
            context.notify("define_metric", {"key": self._key, "definition": self._definition()})
        params: dict[str, object] = {"key": self._key, "value": value}
        if at is not None:
            params["at"] = at
        context.notify("metric", params)

    def _definition(self) -> dict[str, object]:
        definition: dict[str, object] = {}
        if self._group is not None:
            definition.update(self._group.wire())
        if self._scale is not None:
            definition.update(self._scale.wire())
        if self._throttle is not None:
            definition["throttle"] = self._throttle
        return definition


class _Defined:
    """What an execution has defined; definitions of one name must agree."""

    def __init__(self) -> None:
        self._metrics: dict[str, object] = {}
        self._groups: dict[str, object] = {}
        self._scales: dict[str, object] = {}

    def add(self, key: str, group: MetricGroup | None, scale: MetricScale | None) -> bool:
        """True the first time; a contradiction raises and leaves nothing behind."""
        if key in self._metrics:
            _agree(self._metrics, key, (group, scale), f"Metric '{key}'")
            return False
        if group is not None:
            _agree(self._groups, group.name, group, f"Group '{group.name}'")
        if scale is not None and scale.name is not None:
            _agree(self._scales, scale.name, scale, f"Scale '{scale.name}'")
            self._scales[scale.name] = scale
        if group is not None:
            self._groups[group.name] = group
        return self._metrics.setdefault(key, value := (group, scale)) is value


def _plain(value: float) -> float:
    """numpy's numbers and the like as JSON knows them."""
    return value if isinstance(value, (int, float)) else float(value)


def _agree(known: dict[str, object], name: str, value: object, what: str) -> None:
    if name in known and known[name] != value:
        raise ValueError(f"{what} already defined in this execution with different configuration")


def progress(iterable: Iterable[T], key: str = "progress", *, group: str | MetricGroup | None = None) -> Iterator[T]:
    """Yields the items and records how many are done with."""
    items: Any = iterable if isinstance(iterable, Sized) else list(iterable)
    metric = Metric(key, group=group, scale=MetricScale(progress=True, upper=len(items)))
    for done, item in enumerate(items, 1):
        yield item
        metric.record(done)
