"""How close the engine comes to the limits of one core, with a stateful model.

    pip install -c constraints.txt -e '.[train]'
    python benchmarks/limits.py --model shakespeare

A step reads each weight once, whatever the number of lanes. So one lane is limited by how fast a
core reads that many bytes repeatedly: from its cache, or from memory if the cache is too small.

For each lane, a step does one multiplication and one addition a weight. So many lanes are limited
by the operations a second of a core in a large matrix product.

Reading is measured with NumPy's `max` of int8, its fastest reduction; products are ONNX Runtime's.
All tasks take turns; the figures are medians.
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import onnxruntime as ort
from measuring import machine, medians
from onnx import TensorProto, helper, numpy_helper

from charrnn import store
from charrnn.generation import Prompt, generate
from charrnn.spec import ModelSpec
from charrnn.training import graph

LANES = (1, 64)
LENGTH = 500  # characters
MEMORY_BYTES = 256 * 2**20  # more than a cache holds
READ_BYTES = 2**30  # a turn
ROWS, INNER, COLUMNS = 1024, 1024, 2048  # of a large product


def weights_in_products(spec: ModelSpec) -> int:
    """Weights in a step's matrix products, one byte each in int8. The first layer's input product
    is a table lookup and does not count."""
    first = 4 * spec.units[0] ** 2
    upper = sum((below + units) * 4 * units for below, units in pairwise(spec.units))
    return first + upper + spec.units[-1] * spec.characters


def reading(size: int) -> Callable[[], None]:
    """Reads a buffer of `size` bytes until READ_BYTES are read."""
    buffer = np.ones(size, np.int8)  # zeros would all be one page of memory

    def read() -> None:
        for _ in range(READ_BYTES // size):
            buffer.max()

    return read


def product(kind: str) -> Callable[[], object]:
    """A large product, int8 (`MatMulInteger`) or float32 (`MatMul`)."""
    rng = np.random.default_rng(0)
    int8 = kind == "MatMulInteger"
    left = rng.integers(256, size=(ROWS, INNER), dtype=np.uint8)
    limit = graph.WEIGHT_LIMIT
    right = rng.integers(-limit, limit, size=(INNER, COLUMNS), dtype=np.int8)
    if not int8:
        left, right = left.astype(np.float32), right.astype(np.float32)
    constants = [numpy_helper.from_array(right, "right")]
    if int8:
        constants.append(numpy_helper.from_array(np.array(graph.STATE_ZERO, np.uint8), "zero"))
    node = helper.make_node(kind, ["left", *(c.name for c in constants)], ["out"])
    kinds = (TensorProto.UINT8, TensorProto.INT32) if int8 else (TensorProto.FLOAT,) * 2
    inputs, outputs = (
        [helper.make_tensor_value_info(name, kind, None)]
        for name, kind in zip(("left", "out"), kinds, strict=True)
    )
    whole = helper.make_graph([node], "a product", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", graph.OPSET)]
    model = helper.make_model(whole, opset_imports=opsets, ir_version=graph.IR_VERSION)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    return partial(session.run, None, {"left": left})


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine beside the limits of one core.")
    parser.add_argument("--model", default="shakespeare")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    model = store.load(options.model)
    weights = weights_in_products(model.card.spec)
    prompts = [Prompt("", LENGTH, rng_seed=lane) for lane in range(max(LANES))]
    seconds = medians(
        {
            "cache": reading(weights),
            "memory": reading(MEMORY_BYTES),
            "int8": product("MatMulInteger"),
            "float32": product("MatMul"),
            **{lanes: partial(generate, model, prompts[:lanes]) for lanes in LANES},
        },
        options.rounds,
    )
    cache, memory = (READ_BYTES / seconds[where] / 1e9 for where in ("cache", "memory"))
    int8, float32 = (
        2 * ROWS * INNER * COLUMNS / seconds[kind] / 1e9 for kind in ("int8", "float32")
    )
    print(
        f"{machine()}, one of them, medians of {options.rounds}: it reads {cache:.1f} GB/s of "
        f"{weights / 1e6:.2f} MB over and over, {memory:.1f} GB/s from memory, and does "
        f"{int8:.0f} billion int8 and {float32:.0f} billion float32 operations a second.\n"
    )
    columns = ("a step, µs", "weights read, GB/s", f"of {cache:.1f}")
    columns += ("int8 operations, billion/s", f"of {int8:.0f}")
    print(f"| {model.name} | " + " | ".join(columns) + " |\n| --- |" + " ---: |" * len(columns))
    for lanes in LANES:
        step = seconds[lanes] / LENGTH
        read, done = weights / step / 1e9, 2 * weights * lanes / step / 1e9
        cells = (f"{step * 1e6:.0f}", f"{read:.1f}", f"{read / cache:.0%}")
        cells += (f"{done:.1f}", f"{done / int8:.0%}")
        print(f"| {lanes} lane{'s' * (lanes > 1)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
