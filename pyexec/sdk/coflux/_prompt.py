"""Questions to a person."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from coflux import _context
from coflux._handles import Input
from coflux._options import tags

TYPE_CHECKING = False

if TYPE_CHECKING:
    from coflux._options import Tags

T = TypeVar("T")

_PRIMITIVES: dict[Any, dict[str, str]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
}


class Prompt(Generic[T]):
    """A question that executions can ask.

    template: Markdown with {name} for a value within a line, {{name}} for one in a block of its own, {{{name}}} for
    Markdown. model: a class with model_json_schema and model_validate (pydantic), or str, int, float, bool, date, time,
    datetime; the answer has to fit. schema: a JSON Schema instead of a model, as a dict or a text. With neither any answer
    is accepted. title: a short name. actions: the labels of the two buttons (answer, dismiss). requires: tags.
    """

    def __init__(
        self,
        template: str,
        model: type[T] | None = None,
        *,
        title: str | None = None,
        actions: tuple[str, str] | None = None,
        schema: Mapping[str, Any] | str | None = None,
        requires: Tags | None = None,
    ) -> None:
        self._template = template
        self._model: Any = model
        self._title = title
        self._actions = None if actions is None else _labels(*actions)
        self._schema = _schema_text(model, schema)
        self._requires = tags(requires)
        self._key: str | None = None
        self._initial: dict[str, Any] = {}  # as it is sent: nothing, or the value under its name

    def submit(self, **placeholders: object) -> Input[T]:
        """Asks, without waiting for the answer. In one run equal questions are one."""
        context = _context.current()
        # Equal questions are one, so equal values have to look alike.
        values = {name: context.serialize(value, canonical=True) for name, value in placeholders.items()}
        params: dict[str, object] = {"template": self._template, "key": self._key or self._default_key(values)}
        for name, value in (
            ("placeholders", values),
            ("schema", self._schema),
            ("title", self._title),
            ("actions", self._actions),
            ("requires", self._requires),
        ):
            if value:
                params[name] = value
        params.update(self._initial)
        made: str = context.ask("submit_input", params)["input_id"]
        generic: Any = Input
        return (generic if self._model is None else generic[self._model])(made)  # type: ignore[no-any-return]

    def __call__(self, **placeholders: object) -> T:
        """Asks and waits for the answer."""
        return self.submit(**placeholders).result()

    def with_key(self, key: str) -> Prompt[T]:
        """The same question under another key: in one run equal keys are one question."""
        return self._with(_key=key)

    def with_initial(self, value: object) -> Prompt[T]:
        """With an answer to start from: a model, or plain JSON."""
        if hasattr(value, "model_dump"):
            value = value.model_dump(mode="json")
        return self._with(_initial={"initial": value})

    def with_actions(self, respond: str, dismiss: str) -> Prompt[T]:
        return self._with(_actions=_labels(respond, dismiss))

    def with_requires(self, requires: Tags | None) -> Prompt[T]:
        return self._with(_requires=tags(requires))

    def _with(self, **changes: object) -> Prompt[T]:
        changed: Prompt[T] = Prompt.__new__(Prompt)
        vars(changed).update(vars(self), **changes)
        return changed

    def _default_key(self, values: dict[str, dict[str, Any]]) -> str:
        digest = hashlib.sha256(self._template.encode())
        if values:
            named = {name: _content(value) for name, value in values.items()}
            digest.update(json.dumps(named, sort_keys=True).encode())
        if self._schema is not None:
            digest.update(self._schema.encode())
        if self._title is not None:
            digest.update(self._title.encode())
        if self._actions is not None:
            digest.update(json.dumps(self._actions).encode())
        return digest.hexdigest()[:16]


def _labels(respond: str, dismiss: str) -> list[str]:
    return [respond, dismiss]


def _schema_text(model: Any, schema: Mapping[str, Any] | str | None) -> str | None:
    if model is None:
        return schema if schema is None or isinstance(schema, str) else json.dumps(schema)
    if model in _PRIMITIVES:
        return json.dumps(_PRIMITIVES[model])
    if hasattr(model, "model_json_schema") and hasattr(model, "model_validate"):
        return json.dumps(model.model_json_schema())
    raise TypeError(
        f"the model of a prompt must have model_json_schema and model_validate, or be one of str, int, float, bool, date, "
        f"time, datetime; {model!r} is not"
    )


def _content(value: dict[str, Any]) -> dict[str, Any]:
    """A wire value with the hashes of its files instead of their names, which differ each time."""
    out = dict(value)
    if "path" in out:
        out["path"] = _hash(out["path"])
    out["references"] = [
        [*reference[:2], _hash(reference[2]), *reference[3:]] if reference[0] == "fragment" else reference
        for reference in value["references"]
    ]
    return out


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
