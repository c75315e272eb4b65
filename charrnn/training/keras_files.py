"""Open Keras files, which may be a stranger's."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from charrnn.errors import ModelError
from charrnn.sentences import first_line

# The classes that the configuration of a character LSTM names. Other classes of Keras can read
# files or run code.
_ALLOWED = {
    *("Functional", "Model", "Sequential"),
    *("InputLayer", "Embedding", "LSTM", "Dropout", "Dense", "Softmax"),
    *("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform"),
    *("Ones", "Orthogonal", "OrthogonalInitializer", "RandomNormal", "RandomUniform"),
    *("TruncatedNormal", "VarianceScaling", "Zeros"),
    *("DTypePolicy", "Policy", "__keras_tensor__", "L1", "L2", "L1L2"),
}

# What Keras and h5py raise for a file that is damaged or not a model.
KERAS_ERRORS = (
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    tf.errors.OpError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_keras(path: Path) -> keras.Model:
    """The model in a `model.keras`, which may be a stranger's: only the layers of a character LSTM
    are allowed, and nothing in the file is unpickled or executed. Raises ModelError."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_classes(json.loads(archive.read("config.json")))
        return open_model(path)
    except KERAS_ERRORS as error:
        raise ModelError(f"Keras cannot open {path}: {first_line(error)}") from error


def open_model(path: Path) -> keras.Model:
    """The model in a `model.keras` of our own, uncompiled. Raises what Keras raises."""
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise TypeError(f"the file holds a {type(model).__name__}, not a model")
    return model


def _check_classes(part: Any) -> None:
    """Raises ValueError if a configuration names a class that a character LSTM does not need."""
    if isinstance(part, dict):
        name = part.get("class_name")
        if name is not None:
            package = str(part.get("module", "keras")).partition(".")[0]
            if not isinstance(name, str) or name not in _ALLOWED or package != "keras":
                raise ValueError(f"it names {name!r}, which a character LSTM does not need")
        # `compile_config` is never read, since models are opened with compile=False.
        part = [value for key, value in part.items() if key != "compile_config"]
    if isinstance(part, list):
        for inner in part:
            _check_classes(inner)
