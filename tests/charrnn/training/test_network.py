from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from charrnn.store import Model
from charrnn.training.network import (
    SegmentLSTM,
    adopt,
    averaged,
    build,
    segment_lstm,
    shares_of,
    trainable,
)
from charrnn.training.recipes import PRESETS, Recipe
from tests.charrnn.training.conftest import SMALL, weights

# All different, so that a swapped axis shows.
T, B, E, H = 6, 5, 4, 7
SHARES = [2, 2, 1]  # of the lanes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def pair(rng: np.random.Generator) -> tuple[SegmentLSTM, keras.layers.LSTM]:
    """The fast layer and Keras's own, with the same weights."""
    fast = SegmentLSTM(H, weight_dropout=0.0, bfloat16=False, shares=SHARES, name="fast")
    plain = keras.layers.LSTM(H, return_sequences=True, stateful=True)
    for layer in (fast, plain):
        layer.build((B, T, E))
    weights = [rng.normal(size=w.shape).astype(np.float32) for w in plain.get_weights()]
    for layer in (fast, plain):
        layer.set_weights(weights)
    return fast, plain


def gradients(layer: keras.layers.LSTM, segments: np.ndarray) -> Any:
    """Of a loss over two segments, the state carried from one to the other."""
    first, second = (tf.constant(segment) for segment in segments)
    with tf.GradientTape() as tape:
        tape.watch([first, second])
        loss: Any = tf.reduce_sum(tf.sin(3 * layer(first)) * tf.cos(layer(second)))
    return tape.gradient(loss, [first, second, *(w.value for w in layer.trainable_weights)])


def test_a_segment_is_read_as_keras_reads_it(rng: np.random.Generator):
    fast, plain = pair(rng)
    for _ in range(2):  # the second from the state of the first
        segment = rng.normal(size=(B, T, E)).astype(np.float32)
        np.testing.assert_allclose(fast(segment), plain(segment), rtol=1e-5, atol=1e-6)
    for one, other in zip(fast.states, plain.states, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_keras(rng: np.random.Generator):
    fast, plain = pair(rng)
    segments = rng.normal(size=(2, B, T, E)).astype(np.float32)
    for one, other in zip(gradients(fast, segments), gradients(plain, segments), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def arguments(rng: np.random.Generator, dtype: Any) -> list[Any]:
    """What `segment_lstm` takes, the products in `dtype`."""
    shapes = [(B, T, E), (E, 4 * H), (H, 4 * H), (4 * H,), (B, H), (B, H)]
    dtypes = [dtype] * 3 + [tf.float32] * 3
    return [tf.cast(rng.normal(size=s) / 2, d) for s, d in zip(shapes, dtypes, strict=True)]


def loss_and_gradients(inputs: list[Any]) -> tuple[Any, Any]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        hidden, cell = segment_lstm(*inputs)
        loss: Any = tf.reduce_sum(tf.sin(3 * hidden)) + tf.reduce_sum(tf.cos(cell))
    return loss, tape.gradient(loss, inputs)


def test_gradients_reach_the_states_before_the_segment(rng: np.random.Generator):
    inputs = arguments(rng, tf.float32)
    _, gradients = loss_and_gradients(inputs)
    for n, gradient in enumerate(gradients):  # each in a random direction, by differences
        step = tf.cast(rng.normal(size=gradient.shape) * 1e-3, tf.float32)
        higher, lower = ([*inputs[:n], inputs[n] + d, *inputs[n + 1 :]] for d in (step, -step))
        slope = (loss_and_gradients(higher)[0] - loss_and_gradients(lower)[0]) / 2
        np.testing.assert_allclose(slope, tf.reduce_sum(gradient * step), rtol=0.02, atol=2e-4)


def test_bfloat16_products_are_near_those_in_float32(rng: np.random.Generator):
    inputs = arguments(rng, tf.float32)
    rough = [tf.cast(x, tf.bfloat16) for x in inputs[:3]] + inputs[3:]
    pairs = zip(loss_and_gradients(inputs)[1], loss_and_gradients(rough)[1], strict=True)
    for exact, rounded in pairs:
        error = tf.norm(exact - tf.cast(rounded, tf.float32)) / tf.norm(exact)
        assert 1e-5 < error < 0.03


def test_weights_and_states_stay_in_float32():
    layer = SegmentLSTM(H, weight_dropout=0.0, bfloat16=True, shares=SHARES, name="rough")
    layer.build((B, T, E))
    assert {str(w.dtype) for w in (*layer.weights, *(layer.states or []))} == {"float32"}


def test_threads_share_the_lanes_and_a_gpu_reads_all(monkeypatch: pytest.MonkeyPatch):
    threading = tf.config.threading
    monkeypatch.setattr(threading, "get_inter_op_parallelism_threads", lambda: 4)
    assert shares_of(38) == [10, 10, 9, 9]
    assert shares_of(17) == [9, 8]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert shares_of(38) == [38]


def test_weight_dropout_is_for_training_alone(rng: np.random.Generator):
    fast, plain = pair(rng)
    dropping = SegmentLSTM(H, weight_dropout=0.5, bfloat16=False, shares=SHARES, name="dropping")
    dropping.build((B, T, E))
    dropping.set_weights(fast.get_weights())
    segment = rng.normal(size=(B, T, E)).astype(np.float32)
    np.testing.assert_allclose(dropping(segment, training=False), plain(segment), atol=1e-5)
    dropping.reset_state()
    assert np.abs(dropping(segment, training=True) - plain(segment)).max() > 0.1


def test_the_weights_of_a_base_are_adopted_and_new_characters_start_as_their_mean(
    stateful: Model,
):
    old = stateful.card.spec
    model = build(replace(old, characters=old.characters + 2), SMALL.recipe, lanes=3)
    adopt(model, stateful)
    embedding, *lstms, kernel, bias = zip(model.get_weights(), weights(stateful), strict=True)
    for new, base in lstms:
        np.testing.assert_array_equal(new, base)
    for new, base in (embedding, (kernel[0].T, kernel[1].T), (bias[0], bias[1])):
        np.testing.assert_array_equal(new[:-2], base)
        np.testing.assert_allclose(new[-2:], [base.mean(axis=0)] * 2, rtol=1e-5)


def test_the_average_of_the_weights_stands_in_for_them_within_a_block():
    recipe = replace(SMALL.recipe, averaging=0.75, cosine=False, weight_decay=0.0)
    model = trainable(SMALL.spec(4), recipe, batches=10)
    bias = before = model.layers[-1].bias
    for _ in range(2):  # the average begins with the first step
        before = np.array(bias)
        gradients = [tf.ones(w.shape) for w in model.trainable_weights]
        model.optimizer.apply(gradients, model.trainable_weights)
    after = np.array(bias)
    with averaged(model):
        np.testing.assert_allclose(bias, 0.75 * before + 0.25 * after, rtol=1e-5)
    np.testing.assert_array_equal(bias, after)


def test_the_othello_preset_is_the_tutorials_network():
    preset = PRESETS["othello"]
    assert preset.recipe == Recipe(
        epochs=5, batch_size=128, learning_rate=0.001, dropout=0.2, lowercase=True
    )
    model = build(preset.spec(38), preset.recipe, preset.recipe.batch_size)
    assert model.input_shape == (None, 100, 1)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["InputLayer", "LSTM", "Dropout", "Dense"]
    assert model.layers[1].units == 256
    assert model.layers[3].activation is keras.activations.softmax
    assert model.count_params() == 4 * 256 * (1 + 256 + 1) + 257 * 38
