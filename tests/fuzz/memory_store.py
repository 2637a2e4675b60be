"""A history store in memory: a copy for each input, without the flushes to disk that a folder needs."""

from __future__ import annotations

from collections.abc import Mapping

from dr_assets.history.store import Store


class MemoryStore(Store):
    """As `Store` describes it. `objects`: key -> bytes."""

    def __init__(self, objects: Mapping[str, bytes] = {}) -> None:
        self.objects, self.uri = dict(objects), "memory"

    def read(self, key: str) -> bytes:
        return self.objects[key]

    def write(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def create(self, key: str, data: bytes) -> None:
        if key in self.objects:
            raise FileExistsError(key)
        self.objects[key] = data

    def replace(self, key: str, data: bytes, before: bytes | None) -> bool:
        if self.objects.get(key) != before:
            return False
        self.objects[key] = data
        return True

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)
