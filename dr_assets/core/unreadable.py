"""What reading an AWS answer in an undocumented shape raises, and how it is logged without quoting the answer."""

from __future__ import annotations

import logging
import traceback

UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)


def log_unreadable(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log the traceback without the error's text, which may quote the answer, and so a secret."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s cannot be read: %s\n%s", what, type(error).__name__, trace)
