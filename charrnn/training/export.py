"""Keras models: open their files safely, turn them into ONNX graphs and model folders."""

import contextlib
import json
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from charrnn import store
from charrnn.engine import Engine
from charrnn.errors import ModelError
from charrnn.sampling import log_softmax
from charrnn.spec import ModelSpec
from charrnn.text import corpus
from charrnn.training import graph
from charrnn.training.graph import Weights
from charrnn.vocabulary import Vocabulary

DEFAULT_WINDOW = ModelSpec.window

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
_KERAS_ERRORS = (
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
    """The model in a `.keras`, `.h5` or `.hdf5` file. A file of weights alone is taken for a stack
    of LSTMs and a softmax.

    Safe for untrusted files: only the layers of a character LSTM are allowed, and nothing in the
    file is unpickled or executed. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist.")
    try:
        configuration = _configuration(path)
        _check_classes(configuration)
        if path.suffix == ".keras":
            return open_model(path)
        if configuration is not None:
            # Older versions of Keras wrote options that this one refuses. Then build the network
            # from the shapes of its weights.
            with contextlib.suppress(ValueError, TypeError):
                return open_model(path)
        model = _network_of_weights(path)
        model.load_weights(path)
        return model
    except _KERAS_ERRORS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"Keras cannot open {path}: {reason[:200]}") from error


def open_model(path: Path) -> keras.Model:
    """The model in a Keras file of our own, uncompiled. Raises what Keras raises."""
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
        options = (lstm.activation, lstm.recurrent_activation, lstm.use_bias, lstm.go_backwards)
        if options != (keras.activations.tanh, keras.activations.sigmoid, True, False):
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
    """The content of `model.onnx`: int8 for a stateful model, and float32 for a stateless one,
    which must write the tutorial's text to the character."""
    return writing_graph(model, int8=spec_of(model).stateful)


def writing_graph(model: keras.Model, int8: bool) -> bytes:
    """The ONNX graph that writes text as `model` does; see `graph.writing_graph`."""
    spec = spec_of(model)
    return graph.writing_graph(spec, _weights(model, spec), int8)


def convert(source: Path, text: Path, destination: Path) -> None:
    """Write a model folder for a Keras model that was trained elsewhere on `text`.

    The vocabulary is the sorted set of the text's characters, lower-cased or not: whichever has
    as many characters as the model's softmax. Raises ModelError, CorpusError."""
    model = load_keras(source)
    spec = spec_of(model)
    _check_same(model, Engine(writing_graph(model, int8=False), spec))
    raw = corpus.read_text(text)
    for training_text in (raw.lower(), raw):
        vocabulary = Vocabulary.of(training_text)
        if len(vocabulary) == spec.characters:
            break
    else:
        raise ModelError(
            f"{source} has {spec.characters} characters, but {text} has {len(set(raw.lower()))} in "
            f"lower case and {len(set(raw))} as it is. Give the text that the model was trained on."
        )
    opening = corpus.opening(training_text, spec.window)
    training = {"converted_from": source.name, "parameters": model.count_params()}
    card = store.Card(spec, vocabulary, opening, training, scores={})
    with tempfile.TemporaryDirectory() as folder:
        keras_file = Path(folder) / store.KERAS
        model.save(keras_file)
        store.write(destination, card, keras_file, shipped_graph(model))


def _check_same(model: Any, engine: Engine) -> None:
    """Raises ModelError unless Keras and the engine predict the same. A network with connections
    that `spec_of` does not see is found here."""
    spec = engine.spec
    ids = np.random.default_rng(0).integers(spec.characters, size=(2, spec.window), dtype=np.int32)
    inputs = ids if spec.embedding is not None else ids[..., np.newaxis] / spec.characters
    expected = model.predict_on_batch(inputs)
    last = expected[:, -1] if spec.stateful else expected
    if not np.allclose(np.exp(log_softmax(engine.read(ids)[0])), last, atol=1e-4):
        raise ModelError("The model is not a plain stack of LSTMs under one softmax.")


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


def _configuration(path: Path) -> Any:
    """The configuration in a Keras file; None for a file of weights alone."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    with h5py.File(path, "r") as file:
        configuration: Any = file.attrs.get("model_config")
        return None if configuration is None else json.loads(configuration)


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


def _network_of_weights(path: Path) -> keras.Model:
    """The network for a file of weights: LSTMs over windows of scaled ids, then a softmax."""
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
    x = inputs = keras.Input((DEFAULT_WINDOW, 1))
    for n, size in enumerate(units, start=1):
        x = keras.layers.LSTM(size, return_sequences=n < len(units))(x)
    return keras.Model(inputs, keras.layers.Dense(others[0], activation="softmax")(x))
