"""A secret text that shows itself nowhere: not in a repr, a log line, a traceback with local variables, or a pickle."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Wraps a secret. Only `reveal` returns it; call that where the text is used and keep it in no variable."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled.")
