"""Keras models -> specs and ONNX graphs."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from charrnn.errors import ModelError
from charrnn.spec import ModelSpec
from charrnn.training import graph
from charrnn.training.graph import Weights


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
