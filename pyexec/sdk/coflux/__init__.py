"""Workflows in plain Python: decorate functions with task and workflow and call them."""

from coflux._errors import ExecutionAbandoned as ExecutionAbandoned
from coflux._errors import ExecutionCancelled as ExecutionCancelled
from coflux._errors import ExecutionError as ExecutionError
from coflux._errors import ExecutionTerminated as ExecutionTerminated
from coflux._errors import ExecutionTimeout as ExecutionTimeout
from coflux._execution import Execution as Execution
from coflux._logs import log_debug as log_debug
from coflux._logs import log_error as log_error
from coflux._logs import log_info as log_info
from coflux._logs import log_warning as log_warning
from coflux._target import group as group
from coflux._target import task as task
from coflux._target import workflow as workflow
from coflux._version import __version__ as __version__

__all__ = [
    "__version__",
    "task",
    "workflow",
    "Execution",
    "ExecutionError",
    "ExecutionTerminated",
    "ExecutionCancelled",
    "ExecutionTimeout",
    "ExecutionAbandoned",
    "group",
    "log_debug",
    "log_info",
    "log_warning",
    "log_error",
]
