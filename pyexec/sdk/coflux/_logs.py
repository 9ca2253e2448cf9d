"""Messages of a body."""

from __future__ import annotations

from coflux import _context


def log_debug(template: str | None = None, **values: object) -> None:
    _context.current().log(0, template, values)


def log_info(template: str | None = None, **values: object) -> None:
    _context.current().log(2, template, values)


def log_warning(template: str | None = None, **values: object) -> None:
    _context.current().log(4, template, values)


def log_error(template: str | None = None, **values: object) -> None:
    _context.current().log(5, template, values)
