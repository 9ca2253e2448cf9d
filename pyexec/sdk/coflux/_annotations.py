"""What a function's annotations say about its parameters."""

from __future__ import annotations

import sys
import typing

from coflux._handles import Input
from coflux._target import _unwrapped


def input_models(fn: typing.Any) -> dict[int, typing.Any]:
    """The parameters annotated with Input[Model] (perhaps as one of several types), by position."""
    fn = _unwrapped(fn)
    annotations = _raw(fn)
    found = {}
    for index, name in enumerate(fn.__code__.co_varnames[: fn.__code__.co_argcount]):
        alias = _input(_evaluated(annotations.get(name), fn))
        if alias is not None:
            found[index] = alias
    return found


def _raw(fn: typing.Any) -> dict[str, typing.Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        # Names that do not exist do not matter, unless they are the ones that are looked for.
        return annotationlib.get_annotations(fn, format=annotationlib.Format.FORWARDREF)
    return dict(fn.__annotations__)


def _evaluated(annotation: object, fn: typing.Any) -> object:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, fn.__globals__)  # the user's own source text, as typing.get_type_hints does
    except Exception:
        return None  # it names something that only type checkers see


def _input(annotation: typing.Any) -> typing.Any:
    """The alias Input[Model] in an annotation, if there is one."""
    if typing.get_origin(annotation) is Input:
        return annotation
    for part in typing.get_args(annotation):
        found = _input(part)
        if found is not None:
            return found
    return None
