"""The ONNX graph that the engine runs, in float32 or int8: a loop of LSTM steps, each of which
reads the character that the step before chose.

The loop and the sampling are part of the graph because Python between two steps would take half as
long as a step, and would hold the GIL. Within a step:

- The first layer's input product is a lookup in a table, `embedding @ kernel + bias`.
- The input and recurrent products of an upper layer are one product with `[input, hidden]`.
- int8: hidden states lie in (-1, 1), so they are quantised with a constant scale. A scale taken
  from the data, as `quantize_dynamic` does, would be shared by the batch, and one lane's text would
  depend on the others. Weights have a scale for each column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from charrnn.spec import ModelSpec

OPSET = 17
IR_VERSION = 8  # old enough for every ONNX Runtime since 1.11

# Processors without VNNI add pairs of u8 * s8 products in 16 bits, which overflow silently above
# 2 * 255 * 64. Weights of at most 64 give the same result on every machine.
WEIGHT_LIMIT = 64
STATE_SCALE = 1 / 127
STATE_ZERO = 128

# Top-p nearly always needs at most this many characters. Sorting all takes three times as long.
SHORTLIST = 24


@dataclass(frozen=True)
class Weights:
    """A character LSTM's weights, float32; gates in Keras's order i, f, c, o."""

    table: np.ndarray  # (V, 4 * H1): the first layer's input product and bias, for each character
    recurrent: np.ndarray  # (H1, 4 * H1)
    # For each layer n > 1: input and recurrent kernel (H[n-1] + H[n], 4 * H[n]), bias (4 * H[n],)
    upper: list[tuple[np.ndarray, np.ndarray]]
    gates: tuple[str, ...]  # of each layer: "sigmoid" or "hard_sigmoid"
    output: np.ndarray  # (H[-1], V)
    output_bias: np.ndarray  # (V,)


def writing_graph(spec: ModelSpec, weights: Weights, int8: bool) -> bytes:
    """The serialised graph of N steps of B lanes.

    Inputs:
    - `ids` int32 `(B,)`: the characters that the first step reads
    - `state` float32 `(R, S)`
    - `uniform` float32 `(N, B, 1)`: random numbers in [0, 1)
    - `sharpness`, `top_p` float32 and `last_rank` int64, `(B, 1)`: see `sampling.LaneSampling`
    - `bias` float32 `(B, V)`: added to the logits

    Outputs:
    - `chosen` int32 `(N, B)`
    - `logits` float32 `(B, V)` and `next_state` float32 `(R, S)` of the last step

    A row of a state holds h of every layer, then c of every layer. A stateful model has one row for
    each lane. A stateless model has one row for each window that is not full, the lanes' oldest
    windows first: each step begins a window for each lane, and ends those that are full.
    """
    graph = _Graph("", int8)
    lanes = graph.add("Shape", "ids", name="lane_count")
    state = graph.separated("state", spec)
    fresh: list[str] = []
    if not spec.stateful:
        fresh = graph.separated(graph.zeros(lanes, spec.state_size), spec)
    steps = graph.add("Squeeze", graph.add("Shape", "uniform", end=1))
    carried = ["ids", graph.zeros(lanes, spec.characters), *state]
    body = _step(spec, weights, int8, fresh)
    _, logits, *state, chosen = graph.add(
        "Loop", steps, "", *carried, outputs=len(carried) + 1, body=body
    )
    count = len(spec.units)
    hidden = [graph.unquantised(levels) for levels in state[:count]]
    graph.add("Concat", *hidden, *state[count:], name="next_state", axis=1)
    graph.add("Identity", logits, name="logits")
    graph.add("Identity", chosen, name="chosen")

    inputs = [
        _value("ids", TensorProto.INT32, ["lanes"]),
        _value("state", TensorProto.FLOAT, ["rows", spec.state_size]),
        _value("uniform", TensorProto.FLOAT, ["steps", "lanes", 1]),
        _value("sharpness", TensorProto.FLOAT, ["lanes", 1]),
        _value("top_p", TensorProto.FLOAT, ["lanes", 1]),
        _value("last_rank", TensorProto.INT64, ["lanes", 1]),
        _value("bias", TensorProto.FLOAT, ["lanes", spec.characters]),
    ]
    outputs = [
        _value("chosen", TensorProto.INT32, ["steps", "lanes"]),
        _value("logits", TensorProto.FLOAT, ["lanes", spec.characters]),
        _value("next_state", TensorProto.FLOAT, ["next_rows", spec.state_size]),
    ]
    opsets = [helper.make_opsetid("", OPSET)]
    whole = graph.proto("the text of a character LSTM", inputs, outputs)
    model = helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _step(spec: ModelSpec, weights: Weights, int8: bool, fresh: list[str]) -> onnx.GraphProto:
    """The loop's body: each lane reads a character and chooses the next one. `fresh` is the state
    of new windows."""
    graph = _Graph("step_", int8)
    zero = graph.constant(np.array([0]))
    before = [f"state_{n}" for n in range(2 * len(spec.units))]
    ids, state, rows = "read", before, ""
    if not spec.stateful:
        state = [graph.add("Concat", *pair, axis=0) for pair in zip(before, fresh, strict=True)]
        rows = graph.add("Shape", state[0], end=1)
        ids = graph.add("Tile", "read", graph.add("Div", rows, "lane_count"))
    state = _lstm(graph, spec, weights, ids, state)
    top = state[len(spec.units) - 1]
    if not spec.stateful:
        top = graph.add("Slice", top, zero, "lane_count")
        unfilled = graph.add("Mul", "lane_count", graph.constant(np.array([spec.window - 1])))
        full = graph.add("Max", graph.add("Sub", rows, unfilled), zero)
        state = [graph.add("Slice", values, full, rows) for values in state]
    product = graph.product([top], weights.output)
    product = graph.add("Add", product, graph.constant(weights.output_bias))
    logits = graph.add("Add", product, "bias")
    chosen = _choose(graph, logits, spec.characters)
    again = graph.add("Identity", chosen)  # one output is read by the next step, one is kept
    go_on = graph.add("Identity", "going_on")
    levels = TensorProto.UINT8 if int8 else TensorProto.FLOAT
    count = len(spec.units)
    kinds = [TensorProto.INT32, TensorProto.FLOAT, *[levels] * count, *[TensorProto.FLOAT] * count]
    carried = ["read", "logits_before", *before], [chosen, logits, *state]
    inputs, outputs = ([*map(_value, names, kinds)] for names in carried)
    return graph.proto(
        "one step",
        [_value("step", TensorProto.INT64, []), _value("going_on", TensorProto.BOOL, []), *inputs],
        [_value(go_on, TensorProto.BOOL), *outputs, _value(again, TensorProto.INT32)],
    )


def _lstm(
    graph: "_Graph", spec: ModelSpec, weights: Weights, ids: str, state: list[str]
) -> list[str]:
    """The new h of every layer, then the new c of every layer."""
    count = len(spec.units)
    hidden, cells = state[:count], state[count:]
    for layer, units in enumerate(spec.units):
        if layer == 0:
            product = graph.product([hidden[0]], _i_f_o_c(weights.recurrent))
            table = graph.constant(_i_f_o_c(weights.table))
            gates = graph.add("Add", product, graph.add("Gather", table, ids))
        else:
            matrix, bias = weights.upper[layer - 1]
            product = graph.product([hidden[layer - 1], hidden[layer]], _i_f_o_c(matrix))
            gates = graph.add("Add", product, graph.constant(_i_f_o_c(bias)))
        gate, candidate = graph.split(gates, [3 * units, units])
        if weights.gates[layer] == "sigmoid":
            gate = graph.add("Sigmoid", gate)
        else:
            gate = graph.add("HardSigmoid", gate, alpha=1 / 6, beta=0.5)  # Keras 3's
        i, f, o = graph.split(gate, [units] * 3)
        written = graph.add("Mul", i, graph.add("Tanh", candidate))
        cells[layer] = graph.add("Add", graph.add("Mul", f, cells[layer]), written)
        hidden[layer] = graph.quantised(graph.add("Mul", o, graph.add("Tanh", cells[layer])))
    return hidden + cells


def _choose(graph: "_Graph", logits: str, characters: int) -> str:
    """Sample a character for each lane by inverse transform.

    The candidates are the likeliest characters that together reach `top_p`, but only up to
    `last_rank`. The choice is the first candidate whose cumulative probability exceeds `uniform`
    times the candidates' total."""
    one = graph.constant(np.array([1]))
    likely = graph.add("Softmax", graph.add("Mul", logits, "sharpness"), axis=1)
    reached, ranked = _ranked(graph, likely, characters)

    def count(condition: str) -> str:
        numbers = graph.add("Cast", condition, to=TensorProto.INT64)
        return graph.add("ReduceSum", numbers, one, keepdims=1)

    last = graph.add("Min", count(graph.add("Less", reached, "top_p")), "last_rank")
    total = graph.add("GatherElements", reached, last, axis=1)
    share = graph.add("Mul", total, graph.add("Gather", "uniform", "step"))
    # After rounding, the share may equal the total.
    rank = graph.add("Min", count(graph.add("LessOrEqual", reached, share)), last)
    chosen = graph.add("Squeeze", graph.add("GatherElements", ranked, rank, axis=1), one)
    return graph.add("Cast", chosen, to=TensorProto.INT32)


def _ranked(graph: "_Graph", likely: str, characters: int) -> tuple[str, str]:
    """Cumulative probabilities, float32 `(B, K)`, and ids, int64 `(B, K)`, of the likeliest
    characters. K is enough for every lane's top-p."""
    axis = graph.constant(np.array(1))

    def ranked(graph: _Graph, size: int) -> list[str]:
        top, ids = graph.add("TopK", likely, graph.constant(np.array([size])), axis=1, outputs=2)
        return [graph.add("CumSum", top, axis), ids]

    if characters <= SHORTLIST:
        reached, ids = ranked(graph, characters)
        return reached, ids
    short = ranked(graph, SHORTLIST)
    last = graph.add("Gather", short[0], graph.constant(np.array([SHORTLIST - 1])), axis=1)
    enough = graph.add("Cast", graph.add("GreaterOrEqual", last, "top_p"), to=TensorProto.INT32)
    enough = graph.add("Cast", graph.add("ReduceMin", enough, keepdims=0), to=TensorProto.BOOL)
    few, all_of_them = _Graph("few_", graph.int8), _Graph("all_", graph.int8)
    kept = [few.add("Identity", name) for name in short]
    full = ranked(all_of_them, characters)
    kinds = TensorProto.FLOAT, TensorProto.INT64
    reached, ids = graph.add(
        "If",
        enough,
        outputs=2,
        then_branch=few.proto("the shortlist is enough", [], [*map(_value, kept, kinds)]),
        else_branch=all_of_them.proto("it is not", [], [*map(_value, full, kinds)]),
    )
    return reached, ids


class _Graph:
    """Builds an ONNX graph. Methods return names of values. They start with `prefix`, since an
    inner graph must not reuse names of the outer one."""

    def __init__(self, prefix: str, int8: bool):
        self.int8 = int8
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        name = f"{self._prefix}constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(
        self, kind: str, *inputs: str, outputs: int = 1, name: str = "", **attributes: Any
    ) -> Any:
        name = name or f"{self._prefix}{kind}_{len(self._nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{n}" for n in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name, **attributes))
        return name if outputs == 1 else names

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        """Split the columns of `value` into two or more parts of these sizes."""
        sizes_name = self.constant(np.array(sizes))
        return self.add("Split", value, sizes_name, outputs=len(sizes), axis=1)

    def zeros(self, rows: str, columns: int) -> str:
        shape = self.add("Concat", rows, self.constant(np.array([columns])), axis=0)
        return self.add("ConstantOfShape", shape)

    def separated(self, state: str, spec: ModelSpec) -> list[str]:
        """The h of every layer, as `product` takes it, then the c of every layer, from a state
        `(R, S)`."""
        parts = self.split(state, spec.units * 2)
        count = len(spec.units)
        return [*map(self.quantised, parts[:count]), *parts[count:]]

    def quantised(self, hidden: str) -> str:
        """A hidden state as `product` takes it."""
        return self.add("QuantizeLinear", hidden, *self._scale()) if self.int8 else hidden

    def unquantised(self, hidden: str) -> str:
        return self.add("DequantizeLinear", hidden, *self._scale()) if self.int8 else hidden

    def product(self, factors: list[str], matrix: np.ndarray) -> str:
        """`[factors] @ matrix`, float32."""
        left = factors[0] if len(factors) == 1 else self.add("Concat", *factors, axis=1)
        if not self.int8:
            return self.add("MatMul", left, self.constant(matrix))
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12) / WEIGHT_LIMIT
        levels = self.constant(np.rint(matrix / scale).astype(np.int8))
        total = self.add("MatMulInteger", left, levels, self._scale()[1])
        scale = self.constant((scale * STATE_SCALE).astype(np.float32))
        return self.add("Mul", self.add("Cast", total, to=TensorProto.FLOAT), scale)

    def proto(self, name: str, inputs: Any, outputs: Any) -> onnx.GraphProto:
        return helper.make_graph(self._nodes, name, inputs, outputs, self._constants)

    def _scale(self) -> tuple[str, str]:
        scale, zero = np.array(STATE_SCALE, np.float32), np.array(STATE_ZERO, np.uint8)
        return self.constant(scale), self.constant(zero)


def _value(name: str, kind: int, shape: Sequence[str | int] | None = None) -> onnx.ValueInfoProto:
    """A graph's input or output. Inner graphs need no shapes."""
    return helper.make_tensor_value_info(name, kind, shape)


def _i_f_o_c(gates: np.ndarray) -> np.ndarray:
    """Reorder the columns from i, f, c, o to i, f, o, c, so that the sigmoids are adjacent."""
    i, f, c, o = np.split(gates, 4, axis=-1)
    return np.concatenate([i, f, o, c], axis=-1)
