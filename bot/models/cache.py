"""Loaded models, in an LRU cache bounded by bytes."""

from collections.abc import Callable
from pathlib import Path
from threading import Condition

from cachetools import LRUCache, cached

from charrnn import store
from charrnn.store import Model

# ONNX Runtime keeps the weights twice: as read from the file, and rearranged for the processor.
MEMORY_FACTOR = 4  # memory of a loaded model / size of its model.onnx


class LoadedModels:
    """LRU cache of models, bounded by bytes; always keeps at least one model.

    Threads may share it: two that want the same model load it once, and loading one model does not
    delay a thread that wants another."""

    def __init__(self, limit_bytes: int, load: Callable[[Path], Model] = store.load):
        limit_bytes = max(limit_bytes, 1)  # a size of 0 would never be evicted
        # A model larger than the limit counts as the limit, so it is kept alone.
        self._cache: LRUCache[object, Model] = LRUCache(
            limit_bytes, getsizeof=lambda model: min(size_bytes(model), limit_bytes)
        )
        self._get = cached(self._cache, condition=Condition())(load)

    def __len__(self) -> int:
        return len(self._cache)

    def get(self, folder: Path) -> Model:
        """The model in `folder`, loaded unless it is in memory. Raises ModelError."""
        return self._get(folder)


def size_bytes(model: Model) -> int:
    """Estimate the memory that a loaded model takes."""
    return MEMORY_FACTOR * (model.folder / store.ONNX).stat().st_size
