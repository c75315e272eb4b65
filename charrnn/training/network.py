"""The network in Keras: standard layers in files, and a faster LSTM for training."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from charrnn import store
from charrnn.errors import ModelError
from charrnn.spec import ModelSpec
from charrnn.training import export, keras_files
from charrnn.training.recipes import Recipe

LEAST_LANES = 8  # fewest lanes worth a thread of their own


def build(spec: ModelSpec, recipe: Recipe, lanes: int | None = None) -> keras.Model:
    """The network of `spec`, with random weights.

    Without `lanes`, it consists of standard Keras layers. With `lanes`, a stateful network takes
    batches of exactly this many lanes and uses `SegmentLSTM`, in bfloat16 if the recipe says so and
    the processor supports it; a GPU computes in float32. Both have the same weights."""
    layers = keras.layers
    if spec.embedding is not None:
        inputs = keras.Input(batch_shape=(lanes, None), dtype="int32", name="ids")
        x = layers.Embedding(spec.characters, spec.embedding, name="embedding")(inputs)
        x = _dropout(x, recipe.input_dropout, spec)
    else:
        x = inputs = keras.Input((spec.window, 1), name="scaled_ids")
    for n, units in enumerate(spec.units, start=1):
        name = f"lstm_{n}"
        if spec.stateful and lanes is not None:
            bfloat16 = recipe.mixed_precision and processor_has_bfloat16() and not has_gpu()
            lstm = SegmentLSTM(units, recipe.weight_dropout, bfloat16, shares_of(lanes), name=name)
        else:
            sequences = spec.stateful or n < len(spec.units)
            lstm = layers.LSTM(units, return_sequences=sequences, name=name)
        x = _dropout(lstm(x), recipe.dropout, spec)
    outputs = layers.Dense(spec.characters, "softmax", name="softmax")(x)
    return keras.Model(inputs, outputs, name="character_lstm")


def trainable(spec: ModelSpec, recipe: Recipe, batches: int) -> keras.Model:
    """The network with random weights, compiled with the optimizer of `recipe`. `batches`: batches
    in the whole run, over which the learning rate falls."""
    model = build(spec, recipe, recipe.batch_size)
    optimizer = keras.optimizers.AdamW(
        _learning_rate(recipe, batches),
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm,
        use_ema=recipe.averaging > 0,
        ema_momentum=recipe.averaging,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "embeddings"])
    optimizer.build(model.trainable_variables)
    # XLA makes training on windows faster, and training on segments slower.
    compiled = not spec.stateful
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=compiled)  # pyright: ignore[reportArgumentType]
    return model


def _learning_rate(recipe: Recipe, batches: int) -> Any:
    # Keras accepts a number or a schedule; its type hints do not.
    if not recipe.cosine:
        return recipe.learning_rate
    warmup = max(1, round(recipe.warmup * batches))
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, batches - warmup),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )


def _dropout(x: Any, rate: float, spec: ModelSpec) -> Any:
    if not rate:
        return x
    # Stateful: one mask for all steps of a segment.
    shape = (None, 1, None) if spec.stateful else None
    return keras.layers.Dropout(rate, noise_shape=shape)(x)


def shares_of(lanes: int) -> list[int]:
    """How many of the lanes each thread reads. With very few, products are slow. A GPU, which takes
    the operations of all threads one after another, reads all lanes at once."""
    threads = 1 if has_gpu() else tf.config.threading.get_inter_op_parallelism_threads() or 1
    shares = max(1, min(threads, lanes // LEAST_LANES))
    return [len(share) for share in np.array_split(np.arange(lanes), shares)]


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU, on which it then trains."""
    return bool(tf.config.list_physical_devices("GPU"))


def processor_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself. Emulated, it is slower than float32."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def adopt(model: keras.Model, base: store.Model) -> None:
    """Copy the weights of `base` into `model`, which may have more characters. The weights of a
    new character are the mean over the old ones. Raises ModelError if the base's Keras file is not
    the network that its card describes, or has gates that are not trained here."""
    known = len(base.vocabulary)
    path = base.folder / store.KERAS
    trained = keras_files.load_keras(path)
    if replace(export.spec_of(trained), window=base.card.spec.window) != base.card.spec:
        raise ModelError(f"{path} is not the network that {store.CARD} describes.")
    if "hard_sigmoid" in export.gates_of(trained):
        raise ModelError(f"{path} has hard_sigmoid gates, which cannot be trained further.")
    for variable, old in zip(model.weights, trained.get_weights(), strict=True):
        value = np.array(variable)
        if value.shape == old.shape:
            value = old
        elif variable.path.startswith("embedding"):
            value[:known], value[known:] = old, old.mean(axis=0)
        else:
            value[..., :known], value[..., known:] = old, old.mean(axis=-1, keepdims=True)
        variable.assign(value)


def scale_logits(model: keras.Model, factor: float) -> None:
    """Multiply the logits by `factor`, in the weights of the softmax layer."""
    softmax = model.layers[-1]
    softmax.set_weights([factor * weights for weights in softmax.get_weights()])


def reset_state(model: keras.Model) -> None:
    """Forget the carried state, as before the first segment of an epoch."""
    for layer in model.layers:
        if isinstance(layer, SegmentLSTM):
            layer.reset_state()


def seed_dropout(model: keras.Model, seed: tuple[int, ...]) -> None:
    """Let the next batch's dropout follow from `seed`."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout | SegmentLSTM):
            layer.seed_generator.state.assign(rng.integers(2**31, size=2))


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Within the block, the weights are their moving average, where the recipe has one."""
    trained = model.get_weights()
    if int(model.optimizer.iterations):
        model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        model.set_weights(trained)


class SegmentLSTM(keras.layers.LSTM):
    """Keras's stateful LSTM, trained faster.

    Keras runs its cell once a step and lets TensorFlow differentiate the loop, so input products,
    weight gradients and casts happen one step at a time. `segment_lstm` keeps only those operations
    in a loop that need the step before. Dropout on the recurrent weights uses one mask a segment
    (Merity et al., "Regularizing and Optimizing LSTM Language Models", 2018)."""

    def __init__(
        self, units: int, weight_dropout: float, bfloat16: bool, shares: list[int], name: str
    ):
        super().__init__(units, return_sequences=True, stateful=True, name=name)
        self._weight_dropout = weight_dropout
        self._shares = shares
        self._product_dtype = tf.bfloat16 if bfloat16 else tf.float32
        self.seed_generator = keras.random.SeedGenerator()

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        del mask
        recurrent: Any = tf.convert_to_tensor(self.cell.recurrent_kernel)
        if training and self._weight_dropout:
            recurrent = keras.random.dropout(
                recurrent, self._weight_dropout, seed=self.seed_generator
            )
        weights = (
            tf.cast(self.cell.kernel, self._product_dtype),
            tf.cast(recurrent, self._product_dtype),
            tf.convert_to_tensor(self.cell.bias),
        )
        inputs = tf.cast(sequences, self._product_dtype)
        shares = zip(*(tf.split(x, self._shares) for x in (inputs, *initial_state)), strict=True)
        results = [segment_lstm(x, *weights, *state) for x, *state in shares]
        hidden, cell = (tf.concat(parts, axis=0) for parts in zip(*results, strict=True))
        last = hidden[:, -1]
        return last, hidden, [last, cell]

    def save_own_variables(self, store: Any) -> None:
        """Save the carried state. The weights belong to the cell, which Keras saves."""
        for n, state in enumerate(self.states or []):
            store[f"state_{n}"] = np.array(state)

    def load_own_variables(self, store: Any) -> None:
        for n, state in enumerate(self.states or []):
            state.assign(store[f"state_{n}"])


@tf.custom_gradient
def segment_lstm(
    inputs: Any, kernel: Any, recurrent: Any, bias: Any, hidden: Any, cell: Any
) -> Any:
    """An LSTM layer over a segment, with hand-written back-propagation through time.

    Takes inputs `(B, T, E)`, kernel `(E, 4H)` and recurrent kernel `(H, 4H)` in the dtype of the
    products (float32 or bfloat16); bias `(4H,)`, hidden and cell state `(B, H)` in float32; gates
    in Keras's order i, f, c, o. Returns the hidden states `(B, T, H)` and the last cell state
    `(B, H)`, float32.

    The input products of all steps are one product, and the gradient of each weight matrix is one
    product. The loops contain only `h @ R` forwards and `dz @ R.T` backwards, both transposed,
    `(H, B)` and `(4H, B)`: with few lanes, matrix libraries are up to twice as fast that way
    around, and gates are split without copies."""
    product, size = inputs.dtype, hidden.shape[-1]
    steps, lanes = tf.shape(inputs)[1], tf.shape(inputs)[0]
    flat = tf.reshape(inputs, (-1, inputs.shape[-1]))
    projected = tf.cast(tf.matmul(flat, kernel), tf.float32) + bias
    projected = tf.transpose(tf.reshape(projected, (lanes, steps, 4 * size)), (1, 2, 0))
    transposed = tf.transpose(recurrent)
    first, first_cell = tf.transpose(tf.cast(hidden, product)), tf.transpose(cell)

    def forward(t: Any, h: Any, c: Any, hs: Any, *arrays: Any) -> tuple[Any, ...]:
        i, f, g, o = tf.split(projected[t] + tf.cast(tf.matmul(transposed, h), tf.float32), 4)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        before, c = c, f * c + i * g
        squashed = tf.tanh(c)
        h = tf.cast(o * squashed, product)
        values = (tf.concat([i, f, g, o], axis=0), before, squashed)
        written = [array.write(t, value) for array, value in zip(arrays, values, strict=True)]
        return t + 1, h, c, hs.write(t, h), *written

    arrays = [tf.TensorArray(dtype, steps) for dtype in (product, *3 * [tf.float32])]
    _, _, last_cell, hs, *arrays = tf.while_loop(
        lambda t, *_: t < steps, forward, (0, first, first_cell, *arrays), parallel_iterations=1
    )
    hs = tf.transpose(hs.stack(), (2, 0, 1))

    def gradient(d_hs: Any, d_cell: Any) -> tuple[Any, ...]:
        d_hs = tf.transpose(d_hs, (1, 2, 0))

        def backward(t: Any, dh: Any, dc: Any, dzs: Any) -> tuple[Any, ...]:
            gates, before, squashed = (array.read(t) for array in arrays)
            i, f, g, o = tf.split(gates, 4)
            dh = d_hs[t] + tf.cast(dh, tf.float32)
            dc += dh * o * (1 - squashed * squashed)
            di, df = dc * g * i * (1 - i), dc * before * f * (1 - f)
            dg, do = dc * i * (1 - g * g), dh * squashed * o * (1 - o)
            dz = tf.cast(tf.concat([di, df, dg, do], axis=0), product)
            return t - 1, tf.matmul(recurrent, dz), dc * f, dzs.write(t, dz)

        start = (
            steps - 1,
            tf.zeros_like(first),
            tf.transpose(d_cell),
            tf.TensorArray(product, steps),
        )
        _, dh, dc, dzs = tf.while_loop(lambda t, *_: t >= 0, backward, start, parallel_iterations=1)
        dz = tf.reshape(tf.transpose(dzs.stack(), (2, 0, 1)), (-1, 4 * size))
        before = tf.concat([tf.transpose(first)[:, tf.newaxis], hs[:, :-1]], axis=1)
        ones = tf.ones((1, tf.shape(dz)[0]), product)
        return (
            tf.reshape(tf.matmul(dz, kernel, transpose_b=True), tf.shape(inputs)),
            tf.matmul(flat, dz, transpose_a=True),
            tf.matmul(tf.reshape(before, (-1, size)), dz, transpose_a=True),
            tf.cast(tf.matmul(ones, dz)[0], tf.float32),
            tf.cast(tf.transpose(dh), tf.float32),
            tf.transpose(dc),
        )

    return (tf.cast(hs, tf.float32), tf.transpose(last_cell)), gradient
