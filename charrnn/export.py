"""Keras -> ONNX: the graph of one step over a batch of lanes, in float32 or int8.

Why a graph of one step: generation feeds back every character, so a graph over a whole sequence
would be entered once a character anyway, and one step leaves room for what makes it fast:

- The first layer's input product is a table, `embedding @ kernel + bias`, one row a character.
- A layer's input and recurrent products are one product of `[input, hidden]`.
- int8: a hidden state lies in (-1, 1) whatever the text, so it is quantised with a constant
  scale. (A scale taken from the data, as `quantize_dynamic` does, is shared by the whole batch,
  and one person's text would change another's.) Weights are quantised a column at a time.
"""

import contextlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from charrnn.errors import ModelError
from charrnn.spec import ModelSpec

OPSET = 17
IR_VERSION = 8  # old enough for every ONNX Runtime since 1.11

# Processors without VNNI add u8 * s8 products in pairs in 16 bits, which overflow silently past
# 2 * 255 * 64: weights that stay within 64 give the same bits on every machine.
WEIGHT_LIMIT = 64
STATE_SCALE = 1 / 127
STATE_ZERO = 128

DEFAULT_WINDOW = ModelSpec.window

# What Keras and h5py raise over a file that is damaged or holds something else.
_KERAS_REFUSALS = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class _Weights:
    """A character LSTM's weights, float32, gates in Keras's order i, f, c, o."""

    table: np.ndarray  # (V, 4 * H1): the first layer's input product and bias, for each character
    recurrent: np.ndarray  # (H1, 4 * H1)
    # Of the layers n > 1: (H[n-1] + H[n], 4 * H[n]) and the bias (4 * H[n],)
    upper: list[tuple[np.ndarray, np.ndarray]]
    output: np.ndarray  # (H[-1], V)
    output_bias: np.ndarray  # (V,)


def load_keras(path: Path) -> keras.Model:
    """A Keras file as a model: `.keras`, or an old `.h5`/`.hdf5`, whole or weights alone (then a
    stack of LSTMs and a softmax is taken for granted). Opened in safe mode: nothing in the file
    is unpickled or executed. Raises ModelError."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist.")
    try:
        if path.suffix == ".keras":
            return open_model(path)
        if _holds_a_configuration(path):
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
    return step_graph(model, int8=spec_of(model).stateful)


def step_graph(model: keras.Model, int8: bool) -> bytes:
    """The ONNX graph of one step of `model`: `ids` int32 `(B,)` and `state` float32 `(B, S)` ->
    `logits` float32 `(B, V)` and `next_state` `(B, S)`. A state is every layer's h, the first
    layer's first, then every layer's c."""
    spec = spec_of(model)
    weights = _weights(model, spec)
    graph = _Graph(int8)
    sizes = graph.constant(np.array([*spec.units, *spec.units], np.int64), "sizes")
    count = len(spec.units)
    states = graph.add("Split", "state", sizes, outputs=2 * count, axis=1)
    hidden, cells = list(states[:count]), list(states[count:])
    below = ""
    for layer, units in enumerate(spec.units):
        if layer == 0:
            product = graph.product([graph.levels(hidden[0])], _i_f_o_c(weights.recurrent))
            table = graph.constant(_i_f_o_c(weights.table), "table")
            gates = graph.add("Add", product, graph.add("Gather", table, "ids"))
        else:
            matrix, bias = weights.upper[layer - 1]
            product = graph.product([below, graph.levels(hidden[layer])], _i_f_o_c(matrix))
            gates = graph.add("Add", product, graph.constant(_i_f_o_c(bias)))
        split = graph.constant(np.array([3 * units, units], np.int64))
        gate, candidate = graph.add("Split", gates, split, outputs=2, axis=1)
        split = graph.constant(np.array([units] * 3, np.int64))
        i, f, o = graph.add("Split", graph.add("Sigmoid", gate), split, outputs=3, axis=1)
        written = graph.add("Mul", i, graph.add("Tanh", candidate))
        cells[layer] = graph.add("Add", graph.add("Mul", f, cells[layer]), written)
        hidden[layer] = graph.add("Mul", o, graph.add("Tanh", cells[layer]))
        below = graph.levels(hidden[layer])
    product = graph.product([below], weights.output)
    graph.add("Add", product, graph.constant(weights.output_bias), name="logits")
    graph.add("Concat", *hidden, *cells, name="next_state", axis=1)
    return graph.build(spec)


class _Graph:
    """An ONNX graph in the making; every method returns the names of values."""

    def __init__(self, int8: bool):
        self.int8 = int8
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        if int8:
            self.scale = self.constant(np.array(STATE_SCALE, np.float32), "state_scale")
            self.zero = self.constant(np.array(STATE_ZERO, np.uint8), "state_zero")

    def constant(self, array: np.ndarray, name: str = "") -> str:
        name = name or f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(
        self, kind: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any
    ) -> Any:
        name = name or f"{kind}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name, **attributes))
        return name if outputs == 1 else names

    def levels(self, hidden: str) -> str:
        """A hidden state as a factor of `product`."""
        return self.add("QuantizeLinear", hidden, self.scale, self.zero) if self.int8 else hidden

    def product(self, factors: list[str], matrix: np.ndarray) -> str:
        """`[factors] @ matrix`, float32."""
        left = factors[0] if len(factors) == 1 else self.add("Concat", *factors, axis=1)
        if not self.int8:
            return self.add("MatMul", left, self.constant(matrix))
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12) / WEIGHT_LIMIT
        levels = self.constant(np.rint(matrix / scale).astype(np.int8))
        total = self.add("MatMulInteger", left, levels, self.zero)
        scale = self.constant((scale * STATE_SCALE).astype(np.float32))
        return self.add("Mul", self.add("Cast", total, to=TensorProto.FLOAT), scale)

    def build(self, spec: ModelSpec) -> bytes:
        def value(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, kind, ["lanes", *shape])

        graph = helper.make_graph(
            self.nodes,
            "one step of a character LSTM",
            [
                value("ids", TensorProto.INT32),
                value("state", TensorProto.FLOAT, spec.state_size),
            ],
            [
                value("logits", TensorProto.FLOAT, spec.characters),
                value("next_state", TensorProto.FLOAT, spec.state_size),
            ],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def _i_f_o_c(gates: np.ndarray) -> np.ndarray:
    """Columns i, f, c, o -> i, f, o, c: the three sigmoids side by side."""
    i, f, c, o = np.split(gates, 4, axis=-1)
    return np.concatenate([i, f, o, c], axis=-1)


def _weights(model: keras.Model, spec: ModelSpec) -> _Weights:
    layers = _layers(model)
    cells = [lstm.cell for lstm in layers.lstms]
    if layers.embedding is not None:
        inputs = _float32(layers.embedding.embeddings)  # (V, E)
    else:
        inputs = (np.arange(spec.characters) / spec.characters).astype(np.float32)[:, None]
    return _Weights(
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


def _holds_a_configuration(path: Path) -> bool:
    with h5py.File(path, "r") as file:
        return "model_config" in file.attrs


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
    x = inputs = keras.Input((DEFAULT_WINDOW, 1))
    for n, size in enumerate(units, start=1):
        x = keras.layers.LSTM(size, return_sequences=n < len(units))(x)
    return keras.Model(inputs, keras.layers.Dense(others[0], activation="softmax")(x))
