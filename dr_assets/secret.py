"""A secret text that shows itself nowhere: not in a repr, a log line, a traceback with local variables, or a pickle.

`conceal` removes secrets from the errors of libraries, which quote parameters and keep requests and connections.
"""

from __future__ import annotations

import datetime as dt
import json
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

SHOWN = "<secret>"


class Secret:
    """Wraps a secret. Only `reveal` returns it; call that where the text is used and keep it in no variable."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return SHOWN

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled.")


def conceal(error: BaseException, secrets: Iterable[str]) -> None:
    """Remove the secrets from the error's texts, and with them its traceback, its chain, and the objects that it keeps.

    Its type stays, so that it is still handled as what it is. Traceback and chain go because their variables and texts hold what was sent.
    """
    forms = sorted(
        {form for secret in secrets if secret for form in _forms(secret)},
        key=len,
        reverse=True,  # a secret may be part of another
    )
    error.args = tuple(_without(forms, value) for value in error.args)
    for name, value in vars(error).items():
        setattr(error, name, _without(forms, value))
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _forms(secret: str) -> set[str]:
    quoted = {urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), urllib.parse.quote_plus(secret)}
    return {secret, json.dumps(secret)[1:-1], *quoted}


def _without(forms: list[str], value: Any) -> Any:
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, SHOWN)
        return value
    if isinstance(value, Mapping):
        return {_without(forms, key): _without(forms, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(forms, item) for item in value]
    if value is None or isinstance(value, bool | int | float | dt.datetime):
        return value
    return None
