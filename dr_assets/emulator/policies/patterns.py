"""Wildcards and policy variables of IAM policies, compiled to regular expressions.

Source: IAM user guide, "IAM JSON policy elements: Resource" and "IAM policy elements: Variables and tags".
"""

import re
from collections.abc import Mapping
from functools import lru_cache

# Lower-case condition key -> the request's values.
Context = Mapping[str, tuple[str, ...]]

_TOKEN = re.compile(r"\$\{([^}]*)\}|[*?]")
_DEFAULT = re.compile(r"\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?\Z")
_LITERALS = {"*": "*", "?": "?", "$": "$"}


class UnknownVariableError(LookupError):
    """A policy variable has no value in the request: the statement does not match."""


def matches(pattern: str, text: str, context: Context, *, variables: bool, ignore_case: bool = False) -> bool:
    """Whether a text matches a pattern with `*`, `?` and, with `variables`, `${key}` or `${key, 'default'}`."""
    return _compiled(_resolved(pattern, context, variables), ignore_case).fullmatch(text) is not None


def equals(pattern: str, text: str, context: Context, *, variables: bool, ignore_case: bool = False) -> bool:
    """Whether a text equals a value in which only policy variables are special."""
    parts = (value for value, _ in _resolved(pattern, context, variables))
    wanted = "".join(parts)
    return wanted.lower() == text.lower() if ignore_case else wanted == text


def arn_matches(pattern: str, arn: str, context: Context, *, variables: bool) -> bool:
    """Whether an ARN matches: each of the six parts by itself, so that no wildcard reaches across a colon but in the last.

    `*` alone matches everything.
    """
    if pattern == "*":
        return True
    wanted, found = _split(pattern), arn.split(":", 5)
    return len(wanted) == len(found) == 6 and all(
        matches(one, part, context, variables=variables) for one, part in zip(wanted, found, strict=True)
    )


def _split(pattern: str) -> list[str]:
    # The colon within ${aws:username} separates nothing.
    hidden = re.sub(r"\$\{[^}]*\}", lambda found: found.group().replace(":", "\0"), pattern)
    return [part.replace("\0", ":") for part in hidden.split(":", 5)]


Part = tuple[str, bool]


def _resolved(pattern: str, context: Context, variables: bool) -> tuple[Part, ...]:
    """Pieces of text, and whether `*` and `?` in them are wildcards: what a variable brings in is taken literally."""
    if not variables or "${" not in pattern:
        return ((pattern, True),)
    parts: list[Part] = []
    end = 0
    for found in _TOKEN.finditer(pattern):
        if found.group(1) is not None:
            parts += [(pattern[end : found.start()], True), (_value(found.group(1), context), False)]
            end = found.end()
    return (*parts, (pattern[end:], True))


def _value(name: str, context: Context) -> str:
    if name in _LITERALS:
        return _LITERALS[name]
    split = _DEFAULT.match(name)
    values = context.get(split.group(1).lower(), ()) if split else ()
    # A key with several values cannot be used as a variable.
    if len(values) == 1:
        return values[0]
    if split and split.group(2) is not None:
        return split.group(2)
    raise UnknownVariableError(name)


@lru_cache(maxsize=8192)
def _compiled(parts: tuple[Part, ...], ignore_case: bool) -> "re.Pattern[str]":
    text = ""
    for value, wild in parts:
        escaped = re.escape(value)
        text += escaped.replace(r"\*", ".*").replace(r"\?", ".") if wild else escaped
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
