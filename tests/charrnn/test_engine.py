from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from charrnn import evaluation, store
from charrnn.engine import Engine
from charrnn.errors import ModelError
from charrnn.sampling import log_softmax
from charrnn.spec import ModelSpec
from charrnn.store import Model
from charrnn.text import corpus
from charrnn.training import export, graph, keras_files
from tests.conftest import keras_model, random_ids

SPEC = ModelSpec(characters=11, units=(5, 3, 4), embedding=7, stateful=True)
STEPS, LANES = 300, 6


def run(engine: Engine, ids: np.ndarray) -> np.ndarray:
    """Log-probabilities `(B, T, V)` after each of the ids `(B, T)`."""
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
    assert np.abs(expected - expected.mean(axis=1, keepdims=True)).max() > 1  # the predictions vary


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
    ids = random_ids(4, spec.characters, 23, 20)
    together = run(engine, ids)
    for lane in (0, 7, 22):
        assert (run(engine, ids[lane : lane + 1])[0] == together[lane]).all()


def test_int8_as_shipped_costs_less_than_five_thousandths_of_a_nat():
    shipped = store.load("shakespeare")
    model = keras_files.load_keras(shipped.folder / store.KERAS)
    float32 = Engine(export.writing_graph(model, int8=False), shipped.card.spec)
    [play] = corpus.read_sources(["plays:twelfth-night"])
    ids = shipped.vocabulary.encode(play.text[:6000]).ids
    int8_nats = evaluation.losses(shipped.engine, ids, lanes=40).mean()
    float32_nats = evaluation.losses(float32, ids, lanes=40).mean()
    assert int8_nats == pytest.approx(float32_nats, abs=0.005)
    assert int8_nats != float32_nats


def test_int8_products_cannot_overflow_in_16_bits():
    # Processors without VNNI add two products in 16 bits.
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


def test_a_graph_of_another_network_is_refused():
    other = ModelSpec(characters=11, units=(5, 3), embedding=7, stateful=True)
    with pytest.raises(ModelError, match="the spec needs"):
        Engine(export.writing_graph(keras_model(SPEC), int8=True), other)


def hide_weights(graph: onnx.GraphProto) -> None:
    """Keep the largest weights in another file."""
    tensor = max(graph.initializer, key=lambda tensor: len(tensor.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def use_unknown_operator(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Evil", ["ids"], ["result"], domain="evil"))


def allocate_terabytes(graph: onnx.GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.array([2**44]), "huge"))
    graph.node.append(helper.make_node("ConstantOfShape", ["huge"], ["room"]))
    rename_logits(graph)
    graph.node.append(helper.make_node("ReduceSum", ["room"], ["sum"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["honest", "sum"], ["logits"]))


def give_logits_twice(graph: onnx.GraphProto) -> None:
    rename_logits(graph)
    graph.node.append(helper.make_node("Concat", ["honest", "honest"], ["logits"], axis=0))


def rename_logits(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        node.output[:] = ["honest" if name == "logits" else name for name in node.output]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (hide_weights, "keeps weights in another file"),
        (use_unknown_operator, "ONNX Runtime cannot load the graph"),
        (allocate_terabytes, "ONNX Runtime cannot"),
        (give_logits_twice, "The graph's results do not fit the spec"),
    ],
)
def test_a_hostile_graph_is_refused(
    stateful: Model, change: Callable[[onnx.GraphProto], None], sentence: str
):
    model = onnx.load(stateful.folder / store.ONNX)
    change(model.graph)
    with pytest.raises(ModelError, match=sentence):
        Engine(model.SerializeToString(), stateful.card.spec).read(np.zeros((1, 1), np.int32))
