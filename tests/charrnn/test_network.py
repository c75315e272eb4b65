from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from charrnn.network import SegmentLSTM

# All different, so that a swapped axis shows.
T, B, E, H = 6, 3, 4, 5


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def pair(rng: np.random.Generator) -> tuple[SegmentLSTM, keras.layers.LSTM]:
    """The fast layer and Keras's own, with the same weights."""
    fast = SegmentLSTM(H, weight_dropout=0.0, bfloat16=False, name="fast")
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


def test_bfloat16_products_are_near_those_in_float32(rng: np.random.Generator):
    fast, plain = pair(rng)
    rough = SegmentLSTM(H, weight_dropout=0.0, bfloat16=True, name="rough")
    rough.build((B, T, E))
    rough.set_weights(fast.get_weights())
    segment = rng.normal(size=(B, T, E)).astype(np.float32)
    np.testing.assert_allclose(rough(segment), plain(segment), atol=0.05)
    assert rough.trainable_weights[0].dtype == rough.states[1].dtype == "float32"


def test_weight_dropout_is_for_training_alone(rng: np.random.Generator):
    fast, plain = pair(rng)
    dropping = SegmentLSTM(H, weight_dropout=0.5, bfloat16=False, name="dropping")
    dropping.build((B, T, E))
    dropping.set_weights(fast.get_weights())
    segment = rng.normal(size=(B, T, E)).astype(np.float32)
    np.testing.assert_allclose(dropping(segment, training=False), plain(segment), atol=1e-5)
    dropping.reset_state()
    assert np.abs(dropping(segment, training=True) - plain(segment)).max() > 0.1
