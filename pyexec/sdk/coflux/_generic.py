"""Generic classes without the typing module, whose import would cost every process some milliseconds."""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)
    D = TypeVar("D")
else:
    P = T = T_co = D = None

    class Generic:
        """Input[Model] is an alias that remembers Model; calling it makes an Input that does."""

        def __class_getitem__(cls, item):
            return type(list[int])(cls, item if isinstance(item, tuple) else (item,))
