from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from charrnn import evaluation, store
from charrnn.engine import Engine
from charrnn.errors import ModelError
from charrnn.generation import Prompt, generate
from charrnn.sampling import log_softmax
from charrnn.spec import ModelSpec
from charrnn.store import Model
from charrnn.text import corpus
from charrnn.training import export, graph
from tests.conftest import keras_model, random_ids

SPEC = ModelSpec(characters=11, units=(5, 3, 4), embedding=7, stateful=True)
STEPS, LANES = 300, 6


def run(engine: Engine, ids: np.ndarray) -> np.ndarray:
    """Log-probabilities `(B, T, V)` of ids `(B, T)`."""
    state = engine.zero_state(len(ids))
    steps = []
    for t in range(ids.shape[1]):
        logits, state = engine.step(np.ascontiguousarray(ids[:, t]), state)
        steps.append(log_softmax(logits))
    return np.stack(steps, axis=1)


def test_float32_gives_what_keras_gives_over_hundreds_of_steps():
    model = keras_model(SPEC)
    ids = random_ids(2, SPEC.characters, LANES, STEPS)
    expected = np.log(model.predict(ids, verbose=0))
    found = run(Engine(export.writing_graph(model, int8=False), SPEC), ids)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(expected - expected.mean(axis=1, keepdims=True)).max() > 1  # a text that moves


def test_float32_of_a_windowed_network_gives_what_keras_gives():
    spec = ModelSpec(characters=13, units=(6, 4), embedding=None, stateful=False, window=9)
    model = keras_model(spec)
    ids = random_ids(3, spec.characters, LANES, spec.window)
    scaled = ids[..., np.newaxis] / spec.characters
    expected = np.log(model.predict(scaled, verbose=0))
    found = run(Engine(export.writing_graph(model, int8=False), spec), ids)[:, -1]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("int8", [True, False])
@pytest.mark.parametrize("units", [(512, 512), (37, 21)])
def test_a_lane_is_to_the_bit_what_it_is_alone(units: tuple[int, ...], int8: bool):
    spec = ModelSpec(characters=50, units=units, embedding=16, stateful=True)
    engine = Engine(export.writing_graph(keras_model(spec), int8), spec)
    ids = random_ids(4, spec.characters, 23, 40)
    together = run(engine, ids)
    for lane in (0, 7, 22):
        assert (run(engine, ids[lane : lane + 1])[0] == together[lane]).all()


def test_int8_as_shipped_costs_less_than_five_thousandths_of_a_nat():
    shipped = store.load("shakespeare")
    model = export.load_keras(shipped.folder / store.KERAS)
    float32 = Engine(export.writing_graph(model, int8=False), shipped.card.spec)
    held_out = corpus.read_sources(["plays:twelfth-night"])[0].text[:20_000]
    ids = shipped.vocabulary.encode(held_out).ids
    int8_nats = evaluation.score(shipped.engine, ids, 8).nats
    float32_nats = evaluation.score(float32, ids, 8).nats
    assert int8_nats == pytest.approx(float32_nats, abs=0.005)
    assert int8_nats != float32_nats


def test_int8_products_cannot_overflow_in_16_bits():
    # Two products are added in 16 bits where the processor lacks VNNI.
    assert 2 * 255 * graph.WEIGHT_LIMIT <= 2**15 - 1
    whole = graph.onnx.load_from_string(export.writing_graph(keras_model(SPEC), int8=True)).graph
    [body] = [node.attribute[0].g for node in whole.node if node.op_type == "Loop"]
    levels = [graph.numpy_helper.to_array(i) for i in body.initializer if i.data_type == 3]
    assert len(levels) == len(SPEC.units) + 1
    assert max(np.abs(level).max() for level in levels) == graph.WEIGHT_LIMIT


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x07\x12\x04evil"])
def test_a_graph_onnx_runtime_cannot_read_is_refused(content: bytes):
    with pytest.raises(ModelError, match="ONNX Runtime cannot load the graph"):
        Engine(content, SPEC)


def test_a_graph_of_another_shape_is_refused():
    other = ModelSpec(characters=11, units=(5, 3), embedding=7, stateful=True)
    with pytest.raises(ModelError, match="the spec needs"):
        Engine(export.writing_graph(keras_model(SPEC), int8=True), other)


def instead_of(output: str, *nodes: onnx.NodeProto, **constants: np.ndarray) -> Any:
    """Changes a graph: `nodes` compute `output` from the original, which is renamed `honest`."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["honest" if name == output else name for name in node.output]
        tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        model.graph.initializer.extend(tensors)
        model.graph.node.extend(nodes)

    return change


def weights_in(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (weights_in("/etc/passwd"), "another file"),
        (weights_in("model.onnx"), "another file"),
        (
            instead_of(
                "chosen",
                helper.make_node("Add", ["honest", "far"], ["chosen"]),
                far=np.array(99, np.int32),
            ),
            "unknown character",
        ),
        (
            instead_of(
                "chosen",
                helper.make_node("ConstantOfShape", ["huge"], ["room"]),
                helper.make_node("ReduceSum", ["room"], ["sum"], keepdims=0),
                helper.make_node("Cast", ["sum"], ["integer"], to=TensorProto.INT32),
                helper.make_node("Add", ["honest", "integer"], ["chosen"]),
                huge=np.array([2**44]),
            ),
            "ONNX Runtime cannot",
        ),
        (
            instead_of("logits", helper.make_node("Evil", ["honest"], ["logits"], domain="evil")),
            "ONNX Runtime cannot load the graph",
        ),
    ],
)
def test_a_hostile_graph_is_refused(
    stateful: Model, change: Callable[[onnx.ModelProto], None], sentence: str
):
    model = onnx.load(stateful.folder / store.ONNX)
    change(model)
    with pytest.raises(ModelError, match=sentence):
        engine = Engine(model.SerializeToString(), stateful.card.spec)
        generate(replace(stateful, engine=engine), [Prompt("So")])
