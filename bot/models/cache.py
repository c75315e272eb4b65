"""Loaded models, in an LRU cache bounded by bytes."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from charrnn import store
from charrnn.errors import ModelError
from charrnn.store import Model

log = logging.getLogger(__name__)

# A model in memory beside its graph's file: as read, and as the processor likes it best.
MEMORY_FACTOR = 4

# While one model takes another's place in a folder, there is neither for a moment.
LOADING_ATTEMPTS, LOADING_PAUSE_S = 5, 0.05

Version = tuple[int, int, int]  # of a card's file: device, number, time of its change


@dataclass
class _Loaded:
    model: Model
    size: int  # in bytes
    version: Version | None


class LoadedModels:
    """The models used last, kept in memory up to a limit in bytes; the very last one always. One
    that another has taken the place of, in its folder, is used until the other is loaded."""

    def __init__(self, limit_bytes: int, load: Callable[[Path], Model] = store.load):
        self._limit_bytes = limit_bytes
        self._load = load
        self._models: OrderedDict[Path, _Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, folder: Path) -> Model:
        """The model in `folder`, loaded if need be. Raises ModelError. For any thread."""
        with self._lock:
            self._bring_up_to_date(folder)
            self._models.move_to_end(folder)
            while len(self._models) > 1 and self._bytes() > self._limit_bytes:
                self._models.popitem(last=False)
            return self._models[folder].model

    def _bring_up_to_date(self, folder: Path) -> None:
        loaded, version = self._models.get(folder), _version(folder)
        if loaded is None:
            self._models[folder] = self._load_steadily(folder)
        elif version not in (None, loaded.version):
            loaded.version = version  # one that cannot be loaded is not tried with each text
            try:
                self._models[folder] = self._load_steadily(folder)
            except ModelError as error:
                log.error("I go on with the model as it was: %s", error)

    def _load_steadily(self, folder: Path) -> _Loaded:
        for attempt in range(1, LOADING_ATTEMPTS + 1):
            version = _version(folder)
            try:
                model = self._load(folder)
                size = MEMORY_FACTOR * (folder / store.ONNX).stat().st_size
            except (ModelError, OSError) as error:
                damaged = version is not None and version == _version(folder)
                if damaged or attempt == LOADING_ATTEMPTS:
                    if isinstance(error, OSError):
                        raise ModelError(f"{folder} cannot be read: {error.strerror}.") from error
                    raise
                time.sleep(LOADING_PAUSE_S)
            else:
                return _Loaded(model, size, version)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def __len__(self) -> int:
        return len(self._models)

    def _bytes(self) -> int:
        return sum(loaded.size for loaded in self._models.values())


def _version(folder: Path) -> Version | None:
    """Of the model in `folder`; None when there is none."""
    try:
        status = (folder / store.CARD).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
