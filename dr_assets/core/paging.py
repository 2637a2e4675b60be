"""Page tokens of one listing: a token that AWS gives twice is an error, since following it would never end. Pure."""

from __future__ import annotations


class Tokens:
    """The page tokens that one listing has followed so far."""

    def __init__(self) -> None:
        self._followed: set[str] = set()

    def follow(self, token: str) -> str:
        """`token`, unless it was followed before. Raises ValueError then."""
        if token in self._followed:
            raise ValueError("a page token was given twice: the listing would never end")
        self._followed.add(token)
        return token
