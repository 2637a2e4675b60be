"""Records made by hand, for this folder."""

from tests.support.records import record

__all__ = ["record"]
