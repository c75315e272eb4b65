"""The same network and the same sampling in NumPy, TensorFlow and PyTorch, for `writing.py`.

All use the float32 weights of `model.keras`, start at the end of the model's opening, carry the
state, and sample by the same rule with the same random numbers, so they write the same texts. Each
is plain code in its framework, in the fastest form that was found.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from charrnn import store
from charrnn.sampling import Sampling
from charrnn.training import keras_files

Write = Callable[[int, int], np.ndarray]  # B lanes, N characters -> ids (B, N)
State = list[tuple[Any, Any]]  # each layer's h and c, (B, H)

each_array: Any = keras.tree.map_structure


class Network(NamedTuple):
    """A character LSTM's weights as arrays of any framework; gates in the order i, f, c, o."""

    embedding: Any  # (V, E)
    layers: list[tuple[Any, Any, Any]]  # kernel (E or H, 4H), recurrent kernel (H, 4H), bias (4H,)
    output: Any  # (H, V)
    output_bias: Any  # (V,)

    def step(self, x: Any, state: State, split: Any, sigmoid: Any, tanh: Any) -> tuple[Any, State]:
        """One step: embedded characters `(B, E)` -> logits `(B, V)` and the new state."""
        after = []
        for (kernel, recurrent, bias), (h, c) in zip(self.layers, state, strict=True):
            i, f, g, o = split(x @ kernel + h @ recurrent + bias)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            x = sigmoid(o) * tanh(c)
            after.append((x, c))
        return x @ self.output + self.output_bias, after


class Start(NamedTuple):
    """Where writing starts: the logits of the first character, and the state."""

    logits: Any  # (B, V)
    state: State

    def repeated(self, lanes: int) -> "Start":
        return each_array(lambda array: np.repeat(array, lanes, axis=0), self)


def network(model: store.Model) -> Network:
    """The weights of a model with an embedding, as NumPy arrays."""
    embedding, *layers, output, bias = keras_files.load_keras(
        model.folder / store.KERAS
    ).get_weights()
    layers = list(zip(layers[::3], layers[1::3], layers[2::3], strict=True))
    return Network(embedding, layers, output, bias)


def after(network: Network, ids: np.ndarray) -> Start:
    """The start for one lane that has read `ids` `(T,)`."""
    zeros = [np.zeros((1, len(recurrent)), np.float32) for _, recurrent, _ in network.layers]
    start = Start(network.output_bias[np.newaxis], [(zero, zero) for zero in zeros])
    for character in ids:
        start = Start(*numpy_step(network, np.array([character]), start.state))
    return start


def uniforms(lanes: int, length: int) -> np.ndarray:
    """The random numbers `(B, N)` that `generate` uses for the random seeds 0, 1, 2 ..."""
    seeds = range(lanes)
    return np.stack([np.random.default_rng(seed).random(length, np.float32) for seed in seeds])


def numpy_step(network: Network, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    split = partial(np.split, indices_or_sections=4, axis=-1)
    return network.step(network.embedding[ids], state, split, sigmoid, np.tanh)


def with_numpy(network: Network, start: Start, sampling: Sampling) -> Write:
    def choose(logits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        scaled = logits / sampling.temperature
        weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        order = np.argsort(-weights, axis=-1)
        ranked = np.take_along_axis(weights, order, axis=-1)
        reached = (ranked / ranked.sum(axis=-1, keepdims=True)).cumsum(axis=-1)
        last = (reached < sampling.top_p).sum(axis=-1, keepdims=True)
        share = uniform[:, np.newaxis] * np.take_along_axis(reached, last, axis=-1)
        rank = (reached <= share).sum(axis=-1, keepdims=True)
        return np.take_along_axis(order, rank, axis=-1)[:, 0]

    def write(lanes: int, length: int) -> np.ndarray:
        logits, state = start.repeated(lanes)
        chances = uniforms(lanes, length)
        written = np.empty((lanes, length), np.int64)
        for n in range(length):
            written[:, n] = choose(logits, chances[:, n])
            logits, state = numpy_step(network, written[:, n], state)
        return written

    return write


def with_tensorflow(network: Network, start: Start, sampling: Sampling) -> Write:
    """The loop in one `tf.function`, compiled by XLA. Without XLA, or with a call for each
    character, it is slower."""
    weights = each_array(tf.constant, network)
    split = partial(tf.split, num_or_size_splits=4, axis=-1)

    def choose(logits: Any, uniform: Any) -> Any:
        likely = tf.nn.softmax(logits / sampling.temperature)
        ranked, order = tf.math.top_k(likely, likely.shape[-1])
        reached = tf.cumsum(ranked, axis=-1)
        last = count(reached < sampling.top_p)
        share = uniform * tf.gather(reached, last, batch_dims=1)
        return tf.gather(order, count(reached <= share[:, tf.newaxis]), batch_dims=1)

    def count(conditions: Any) -> Any:
        return tf.reduce_sum(tf.cast(conditions, tf.int32), axis=-1)

    @tf.function(jit_compile=True)
    def loop(logits: Any, state: State, chances: Any) -> Any:
        written = tf.TensorArray(tf.int32, chances.shape[1])
        for n in tf.range(chances.shape[1]):
            ids = choose(logits, chances[:, n])
            written = written.write(n, ids)
            x = tf.gather(weights.embedding, ids)
            logits, state = weights.step(x, state, split, tf.sigmoid, tf.tanh)
        return tf.transpose(written.stack())

    def write(lanes: int, length: int) -> np.ndarray:
        logits, state = each_array(tf.constant, start.repeated(lanes))
        return loop(logits, state, tf.constant(uniforms(lanes, length))).numpy()

    return write


def with_pytorch(
    torch: Any, network: Network, start: Start, sampling: Sampling, as_layers: bool = False
) -> Write:
    """The LSTM in plain operations, or as `nn.LSTM`, which is much slower on some processors."""
    weights = each_array(torch.tensor, network)
    split = partial(torch.chunk, chunks=4, dim=-1)
    lstms = [torch.nn.LSTM(len(kernel), len(recurrent)) for kernel, recurrent, _ in network.layers]
    for lstm, (kernel, recurrent, bias) in zip(lstms, weights.layers, strict=True):
        parameters = (kernel.T, recurrent.T, bias, torch.zeros_like(bias))
        lstm.load_state_dict(dict(zip(lstm.state_dict(), parameters, strict=True)))

    def step(ids: Any, state: State) -> tuple[Any, State]:
        x = weights.embedding[ids]
        if not as_layers:
            return weights.step(x, state, split, torch.sigmoid, torch.tanh)
        after = []
        for lstm, (h, c) in zip(lstms, state, strict=True):
            _, (h, c) = lstm(x[None], (h[None], c[None]))
            x = h[0]
            after.append((h[0], c[0]))
        return x @ weights.output + weights.output_bias, after

    def choose(logits: Any, uniform: Any) -> Any:
        ranked, order = (logits / sampling.temperature).softmax(-1).sort(descending=True)
        reached = ranked.cumsum(-1)
        last = (reached < sampling.top_p).sum(-1, keepdim=True)
        share = uniform[:, None] * reached.gather(-1, last)
        rank = (reached <= share).sum(-1, keepdim=True)
        return order.gather(-1, rank)[:, 0]

    @torch.inference_mode()
    def write(lanes: int, length: int) -> np.ndarray:
        logits, state = each_array(torch.from_numpy, start.repeated(lanes))
        chances = torch.from_numpy(uniforms(lanes, length))
        written = torch.empty((lanes, length), dtype=torch.int64)
        for n in range(length):
            written[:, n] = choose(logits, chances[:, n])
            logits, state = step(written[:, n], state)
        return written.numpy()

    return write
