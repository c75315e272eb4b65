"""Keras models of our own: open their files safely, turn them into ONNX graphs."""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from charrnn.errors import ModelError
from charrnn.spec import ModelSpec
from charrnn.training import graph
from charrnn.training.graph import Weights

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


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def open_model(path: Path) -> keras.Model:
    """The model in a `model.keras` of our own, uncompiled. Raises what Keras raises."""
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise TypeError(f"the file holds a {type(model).__name__}, not a model")
    return model


def spec_of(model: keras.Model) -> ModelSpec:
    """The spec of a Keras model made of [Embedding,] LSTMs, Dense(softmax), and dropout anywhere.

    Raises ModelError, naming the layer, for any other model."""
    layers = _layers(model)
    if not layers.lstms:
        raise ModelError("The model has no LSTM layer.")
    for lstm in layers.lstms:
        options = (lstm.activation, lstm.use_bias, lstm.go_backwards)
        if options != (keras.activations.tanh, True, False):
            raise ModelError(f"The layer {lstm.name} is not a standard forward LSTM.")
    if not all(lstm.return_sequences for lstm in layers.lstms[:-1]):
        raise ModelError("Every LSTM layer but the last must return sequences.")
    if layers.embedding is None and layers.lstms[0].cell.kernel.shape[0] != 1:
        raise ModelError("Without an embedding, the input of a step must be a single number.")
    steps = model.input_shape[1]
    return ModelSpec(
        window=steps or ModelSpec.window,
        characters=layers.output.units,
        units=tuple(lstm.units for lstm in layers.lstms),
        embedding=layers.embedding.output_dim if layers.embedding else None,
        stateful=layers.lstms[-1].return_sequences and steps is None,
    )


def gates_of(model: keras.Model) -> tuple[str, ...]:
    """The gate activation of each LSTM: "sigmoid" or "hard_sigmoid". Raises ModelError."""
    names = {keras.activations.sigmoid: "sigmoid", keras.activations.hard_sigmoid: "hard_sigmoid"}
    gates = []
    for lstm in _layers(model).lstms:
        if lstm.recurrent_activation not in names:
            raise ModelError(f"The layer {lstm.name} has other gates than an LSTM of today.")
        gates.append(names[lstm.recurrent_activation])
    return tuple(gates)


def shipped_graph(model: keras.Model) -> bytes:
    """The content of `model.onnx`: int8 for a stateful model, and float32 for a stateless one,
    which must write the tutorial's text to the character."""
    return writing_graph(model, int8=spec_of(model).stateful)


def writing_graph(model: keras.Model, int8: bool) -> bytes:
    """The ONNX graph that writes text as `model` does; see `graph.writing_graph`."""
    spec = spec_of(model)
    return graph.writing_graph(spec, _weights(model, spec), int8)


def _weights(model: keras.Model, spec: ModelSpec) -> Weights:
    layers = _layers(model)
    cells = [lstm.cell for lstm in layers.lstms]
    if layers.embedding is not None:
        inputs = _float32(layers.embedding.embeddings)  # (V, E)
    else:
        inputs = (np.arange(spec.characters) / spec.characters).astype(np.float32)[:, None]
    return Weights(
        table=inputs @ _float32(cells[0].kernel) + _float32(cells[0].bias),
        recurrent=_float32(cells[0].recurrent_kernel),
        upper=[
            (
                np.concatenate([_float32(cell.kernel), _float32(cell.recurrent_kernel)]),
                _float32(cell.bias),
            )
            for cell in cells[1:]
        ],
        gates=gates_of(model),
        output=_float32(layers.output.kernel),
        output_bias=_float32(layers.output.bias),
    )


def _float32(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


@dataclass(frozen=True)
class _Layers:
    embedding: keras.layers.Embedding | None
    lstms: list[keras.layers.LSTM]
    output: keras.layers.Dense


def _layers(model: keras.Model) -> _Layers:
    ignored = (keras.layers.InputLayer, keras.layers.Dropout)
    layers = [layer for layer in model.layers if not isinstance(layer, ignored)]
    embedding = None
    if layers and isinstance(layers[0], keras.layers.Embedding):
        embedding = layers.pop(0)
    softmax = layers and isinstance(layers[-1], keras.layers.Softmax) and layers.pop()
    if not layers or not isinstance(layers[-1], keras.layers.Dense):
        raise ModelError("The model's last layer must be Dense with a softmax.")
    output = layers.pop()
    if (output.activation == keras.activations.softmax) == bool(softmax) or not output.use_bias:
        raise ModelError("The model's last layer must be Dense with a softmax.")
    for layer in layers:
        if not isinstance(layer, keras.layers.LSTM):
            raise ModelError(f"The layer {layer.name} ({type(layer).__name__}) is not supported.")
    return _Layers(embedding, layers, output)


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
