"""What lies in quarantine: objects that could not be used and whose keys have not been written again since."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dr_assets.history.store import Store

_PLACE = re.compile(r"quarantine/(.+)\.[0-9a-f]{12}", re.DOTALL)


def quarantined(store: Store, prefix: str) -> Iterator[tuple[str, str]]:
    """(key, place) of each quarantined object from below `prefix`, until its key is written again or the copy is removed.

    Raises DrError where the store does not list.
    """
    places = store.list(f"quarantine/{prefix}")
    there = set(store.list(prefix)) if places else set()
    for place in places:
        match = _PLACE.fullmatch(place)
        if match and match[1] not in there:
            yield match[1], place
