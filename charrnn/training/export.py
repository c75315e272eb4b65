"""Keras -> what the engine runs."""

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from charrnn.errors import ModelError
from charrnn.spec import ModelSpec
from charrnn.training import graph
from charrnn.training.graph import Weights

DEFAULT_WINDOW = ModelSpec.window

# All that the configuration of a character LSTM names. Some of what else Keras knows reads files
# or runs code.
_LAYERS = ("InputLayer", "Embedding", "LSTM", "Dropout", "Dense", "Softmax")
_KNOWN = {
    *("Functional", "Model", "Sequential", *_LAYERS),
    *("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform"),
    *("Ones", "Orthogonal", "OrthogonalInitializer", "RandomNormal", "RandomUniform"),
    *("TruncatedNormal", "VarianceScaling", "Zeros"),
    *("DTypePolicy", "Policy", "__keras_tensor__", "L1", "L2", "L1L2"),
}
MAX_CONFIGURATION_BYTES = 2**24
# A file is never this many times smaller than its weights in memory.
MOST_EXPANSION = 10

# What Keras and h5py raise over a file that is damaged or holds something else.
_KERAS_REFUSALS = (
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
    """A Keras file as a model: `.keras`, or an old `.h5`/`.hdf5`, whole or weights alone (then a
    stack of LSTMs and a softmax is taken for granted). Opened in safe mode, and only where it
    names nothing but what a character LSTM is made of: nothing in the file is unpickled or
    executed. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist.")
    try:
        configuration = _configuration(path)
        _check_size(path, _weight_bytes(_named(configuration)))
        if path.suffix == ".keras":
            return open_model(path)
        if configuration is not None:
            # What older versions of Keras wrote may name options that this one has no more.
            with contextlib.suppress(ValueError, TypeError):
                return open_model(path)
        model = _network_of_weights(path)
        model.load_weights(path)
        return model
    except _KERAS_REFUSALS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"Keras cannot open {path}: {reason[:200]}") from error


def open_model(path: Path) -> keras.Model:
    """`keras.saving.load_model` for running, in safe mode. Raises what Keras raises."""
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise TypeError(f"the file holds a {type(model).__name__}, not a model")
    return model


def spec_of(model: keras.Model) -> ModelSpec:
    """The spec of a Keras model: [Embedding,] LSTMs, Dense(softmax), dropout anywhere.

    Raises ModelError, naming the layer, when it is anything else."""
    layers = _layers(model)
    if not layers.lstms:
        raise ModelError("The model has no LSTM layer.")
    for lstm in layers.lstms:
        usual = (lstm.activation, lstm.recurrent_activation, lstm.use_bias, lstm.go_backwards)
        if usual != (keras.activations.tanh, keras.activations.sigmoid, True, False):
            raise ModelError(f"The layer {lstm.name} is not a standard forward LSTM.")
    if not all(lstm.return_sequences for lstm in layers.lstms[:-1]):
        raise ModelError("Every LSTM layer but the last must return sequences.")
    if layers.embedding is None and layers.lstms[0].cell.kernel.shape[0] != 1:
        raise ModelError("Without an embedding, the input of a step must be a single number.")
    steps = model.input_shape[1]
    return ModelSpec(
        window=DEFAULT_WINDOW if layers.lstms[-1].return_sequences else steps or DEFAULT_WINDOW,
        characters=layers.output.units,
        units=tuple(lstm.units for lstm in layers.lstms),
        embedding=layers.embedding.output_dim if layers.embedding else None,
        stateful=layers.lstms[-1].return_sequences,
    )


def shipped_graph(model: keras.Model) -> bytes:
    """The graph that `model.onnx` holds: int8, but float32 for a stateless model, whose text
    under argmax is to be the tutorial's to the character."""
    return writing_graph(model, int8=spec_of(model).stateful)


def writing_graph(model: keras.Model, int8: bool) -> bytes:
    """The graph that writes as `model` does (`graph.writing_graph`)."""
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
    shapeless = (keras.layers.InputLayer, keras.layers.Dropout)
    layers = [layer for layer in model.layers if not isinstance(layer, shapeless)]
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


def _configuration(path: Path) -> Any:
    """What a Keras file says of its layers; None where it holds weights alone."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > MAX_CONFIGURATION_BYTES:
                raise ValueError("its configuration is too large")
            return json.loads(archive.read("config.json"))
    with h5py.File(path, "r") as file:
        configuration: Any = file.attrs.get("model_config")
        return None if configuration is None else json.loads(configuration)


def _named(part: Any) -> Iterator[tuple[str, Any]]:
    """All that a configuration names, each with its own configuration. Raises ValueError where
    a character LSTM needs no such thing."""
    if isinstance(part, dict):
        name = part.get("class_name")
        if name is not None:
            package = str(part.get("module", "keras")).partition(".")[0]
            if not isinstance(name, str) or name not in _KNOWN or package != "keras":
                raise ValueError(f"it names {name!r}, which a character LSTM does not need")
            yield name, part.get("config")
        # How it was compiled is never read.
        part = [value for key, value in part.items() if key != "compile_config"]
    if isinstance(part, list):
        for inner in part:
            yield from _named(inner)


def _weight_bytes(named: Iterator[tuple[str, Any]]) -> int:
    """How many bytes the weights of the layers take, if each reads the widest there is."""
    layers = [(name, config) for name, config in named if isinstance(config, dict)]

    def sizes(layer: str, option: str) -> list[int]:
        given = [config.get(option) for name, config in layers if name == layer]
        last = [value[-1] if isinstance(value, list) and value else value for value in given]
        return [value for value in last if isinstance(value, int)]

    units, outputs = sizes("LSTM", "units"), sizes("Embedding", "output_dim")
    inputs = [*sizes("InputLayer", "batch_shape"), *sizes("InputLayer", "batch_input_shape")]
    widest = max([*units, *outputs, *inputs], default=1)
    rows = [*sizes("Embedding", "input_dim"), *sizes("Dense", "units")]
    return 4 * widest * sum(rows) + 16 * sum(size * (size + widest) for size in units)


def _check_size(path: Path, weight_bytes: int) -> None:
    """Raises ValueError rather than make room for weights that cannot be in the file."""
    if weight_bytes > MOST_EXPANSION * path.stat().st_size:
        raise ValueError("it is too small for the layers it names")


def _network_of_weights(path: Path) -> keras.Model:
    """The network whose weights a file holds: LSTMs over windows of scaled ids, then a softmax."""
    shapes: list[tuple[int, ...]] = []

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            shapes.append(item.shape)

    with h5py.File(path, "r") as file:
        file.visititems(note)
    biases = [shape[0] for shape in shapes if len(shape) == 1]
    recurrent = [size for size in biases if size % 4 == 0 and (size // 4, size) in shapes]
    others = [size for size in biases if size not in recurrent]
    units = [size // 4 for size in recurrent]
    if len(set(units)) != 1 or len(others) != 1 or (1, 4 * units[0]) not in shapes:
        raise ValueError(
            "its weights are not those of LSTM layers on a single number and a softmax"
        )
    _check_size(path, sum(16 * size * size for size in units) + 4 * others[0] * units[0])
    x = inputs = keras.Input((DEFAULT_WINDOW, 1))
    for n, size in enumerate(units, start=1):
        x = keras.layers.LSTM(size, return_sequences=n < len(units))(x)
    return keras.Model(inputs, keras.layers.Dense(others[0], activation="softmax")(x))
