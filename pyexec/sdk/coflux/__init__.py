"""Workflows in plain Python: decorate functions with task and workflow and call them."""

from coflux._coordination import cancel as cancel
from coflux._coordination import group as group
from coflux._coordination import select as select
from coflux._coordination import suspend as suspend
from coflux._coordination import suspense as suspense
from coflux._decorators import stub as stub
from coflux._decorators import task as task
from coflux._decorators import workflow as workflow
from coflux._errors import ExecutionAbandoned as ExecutionAbandoned
from coflux._errors import ExecutionCancelled as ExecutionCancelled
from coflux._errors import ExecutionError as ExecutionError
from coflux._errors import ExecutionTerminated as ExecutionTerminated
from coflux._errors import ExecutionTimeout as ExecutionTimeout
from coflux._errors import InputDismissed as InputDismissed
from coflux._handles import Execution as Execution
from coflux._handles import Input as Input
from coflux._logs import log_debug as log_debug
from coflux._logs import log_error as log_error
from coflux._logs import log_info as log_info
from coflux._logs import log_warning as log_warning
from coflux._options import Cache as Cache
from coflux._options import Defer as Defer
from coflux._options import Retries as Retries
from coflux._version import __version__ as __version__

TYPE_CHECKING = False

if TYPE_CHECKING:
    from coflux._assets import Asset as Asset
    from coflux._assets import AssetEntry as AssetEntry
    from coflux._assets import AssetMetadata as AssetMetadata
    from coflux._assets import asset as asset
    from coflux._metrics import Metric as Metric
    from coflux._metrics import MetricGroup as MetricGroup
    from coflux._metrics import MetricScale as MetricScale
    from coflux._metrics import progress as progress
    from coflux._models import ModelSchema as ModelSchema
    from coflux._prompt import Prompt as Prompt
else:
    # What these import would cost every process many milliseconds, so they are imported when they are first used.
    _LATER = {
        "Asset": "_assets",
        "AssetEntry": "_assets",
        "AssetMetadata": "_assets",
        "asset": "_assets",
        "Metric": "_metrics",
        "MetricGroup": "_metrics",
        "MetricScale": "_metrics",
        "progress": "_metrics",
        "ModelSchema": "_models",
        "Prompt": "_prompt",
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module 'coflux' has no attribute '{name}'")
        value = getattr(__import__(f"coflux.{_LATER[name]}", fromlist=["_"]), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted(set(globals()) | set(_LATER))

__all__ = [
    "__version__",
    "task",
    "workflow",
    "stub",
    "Execution",
    "ExecutionError",
    "ExecutionTerminated",
    "ExecutionCancelled",
    "ExecutionTimeout",
    "ExecutionAbandoned",
    "InputDismissed",
    "Input",
    "ModelSchema",
    "Metric",
    "MetricGroup",
    "MetricScale",
    "Prompt",
    "Cache",
    "Defer",
    "Retries",
    "Asset",
    "AssetEntry",
    "AssetMetadata",
    "group",
    "suspense",
    "suspend",
    "select",
    "cancel",
    "log_debug",
    "log_info",
    "log_warning",
    "log_error",
    "progress",
    "asset",
]
