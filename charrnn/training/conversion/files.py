"""What a Keras file contains: its configuration and its weights, as Keras 1, 2 and 3 write them."""

import io
import json
import re
import zipfile
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from charrnn.errors import ModelError
from charrnn.sentences import first_line
from charrnn.training.keras_files import KERAS_ERRORS

# Keras does not compress. A file that unpacks to this many times its size means harm.
EXPANSION = 100

_STARTS = (b"PK\x03\x04", b"\x89HDF")  # of a `.keras` file, which is a zip archive, and of HDF5
# What zipfile and h5py raise where the file's structure or a checksum in it is broken.
_DAMAGE = (EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class KerasFile:
    """The content of a Keras file.

    Older versions of Keras keep weights by the layer's name. Since 2.12, `.keras` and `.weights.h5`
    keep them by the layer's class: `lstm`, `lstm_1`, `dense`."""

    configuration: Any  # parsed JSON; None in a file of weights alone
    version: str | None  # of the Keras that wrote it
    weights: dict[str, list[np.ndarray]]  # float32; an empty list for a layer that has none
    by_class: bool


def read(path: Path, architecture: Path | None = None) -> KerasFile:
    """The content of a `.keras` or HDF5 file, whatever its name. `architecture` is the JSON of
    `model.to_json()`, for a file of weights alone. Raises ModelError."""
    if path.is_dir():
        raise ModelError(
            f"{path} is a folder. If it is a SavedModel, open it with the Keras that wrote it, and "
            "save it as one file: keras.models.load_model(FOLDER).save('model.h5')."
        )
    with path.open("rb") as file:
        start = file.read(4)
    try:
        content = _content(path, start)
    except _DAMAGE as error:
        raise ModelError(f"{path} is cut off or damaged: copy it again.") from error
    except KERAS_ERRORS as error:
        raise ModelError(f"{path} cannot be read: {first_line(error)}") from error
    if architecture is None:
        return content
    if content.configuration is not None:
        raise ModelError(f"{path} contains a whole model. Leave out --architecture.")
    try:
        configuration = json.loads(architecture.read_bytes())
        version = content.version or configuration.get("keras_version")
    except (ValueError, RecursionError, AttributeError) as error:
        raise ModelError(f"{architecture} is not the JSON that model.to_json() returns.") from error
    return KerasFile(configuration, version, content.weights, content.by_class)


def _content(path: Path, start: bytes) -> KerasFile:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            configuration = json.loads(_member(archive, "config.json", size))
            version = json.loads(_member(archive, "metadata.json", size))["keras_version"]
            weights = _member(archive, "model.weights.h5", size)
        with closing(h5py.File(io.BytesIO(weights), "r")) as file:
            return KerasFile(configuration, version, _weights_by_class(file, len(weights)), True)
    if not h5py.is_hdf5(path):
        if not start or start in _STARTS:
            raise EOFError
        raise ModelError(
            f"{path} is neither HDF5 nor a .keras file. With the Keras that wrote it, save the "
            "model as one file: model.save('model.h5'). If this is the JSON of model.to_json(), "
            "give the file of the weights instead, and this one with --architecture."
        )
    with h5py.File(path, "r") as file:
        configuration: Any = file.attrs.get("model_config")
        configuration = None if configuration is None else json.loads(configuration)
        named: Any = file.get("model_weights", file)
        if "layer_names" not in named.attrs:
            # Keras 3 names the model there, 2 does not.
            version = "3.0" if "vars" in file and "name" in file["vars"].attrs else None
            return KerasFile(configuration, version, _weights_by_class(file, size), True)
        version = named.attrs.get("keras_version", file.attrs.get("keras_version"))
        weights = {
            layer: [_array(named[layer][name], size) for name in _names(named[layer], "weight")]
            for layer in _names(named, "layer")
        }
        return KerasFile(configuration, version and _text(version), weights, False)


def _names(group: Any, kind: str) -> list[str]:
    return [_text(name) for name in group.attrs[f"{kind}_names"]]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _weights_by_class(file: h5py.File, size: int) -> dict[str, list[np.ndarray]]:
    """Weights from paths like `layers/lstm_1/cell/vars/0`. On Windows, Keras writes some of the
    slashes as backslashes."""
    found: dict[str, list[np.ndarray]] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        top, *rest = re.split(r"[/\\]+", name)
        if top not in ("layers", "_layer_checkpoint_dependencies") or not rest:
            return
        arrays = found.setdefault(rest[0], [])
        if isinstance(item, h5py.Dataset) and "seed_generator" not in rest:
            arrays.append(_array(item, size))

    file.visititems(visit)
    return found


def _member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    if archive.getinfo(name).file_size > EXPANSION * size:
        raise ValueError(f"{name} in it is too large")
    return archive.read(name)


def _array(item: h5py.Dataset, size: int) -> np.ndarray:
    if item.nbytes > EXPANSION * size:
        raise ValueError(f"{item.name} in it is too large")
    return np.asarray(item, np.float32)
