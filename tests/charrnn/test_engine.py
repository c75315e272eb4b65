import keras
import numpy as np
import pytest

from charrnn import evaluation, store
from charrnn.engine import Engine
from charrnn.errors import ModelError
from charrnn.sampling import log_softmax
from charrnn.spec import ModelSpec
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


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([keras.layers.GRU(4)], "GRU"),
        ([keras.layers.LSTM(4, activation="relu")], "not a standard forward LSTM"),
        ([keras.layers.Flatten()], "Flatten"),
        ([keras.layers.LSTM(4), keras.layers.Dense(3)], "Dense with a softmax"),
        (
            [keras.layers.LSTM(4), keras.layers.Dense(3, "softmax", use_bias=False)],
            "Dense with a softmax",
        ),
    ],
)
def test_a_network_that_is_something_else_is_refused(layers: list, sentence: str):
    model = keras.Sequential([keras.Input((10, 1)), *layers])
    if not isinstance(layers[-1], keras.layers.Dense):
        model.add(keras.layers.Dense(3, activation="softmax"))
    with pytest.raises(ModelError, match=sentence):
        export.spec_of(model)
