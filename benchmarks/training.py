"""How fast charrnn trains a network, compared with PyTorch's LSTM or with Keras's own.

    pip install -c constraints.txt -e '.[train,benchmark]'
    TF_ENABLE_ONEDNN_OPTS=1 python benchmarks/training.py --preset shakespeare --threads 2

The variable is one that `charrnn train` sets itself. Network, batches, clipping and AdamW are the
same for all contestants, which take turns; those in bfloat16 need a processor that has it. The
figures are medians over batches. `--contestants keras torch` leaves out charrnn, for which
TensorFlow's threads are set in a way that does not suit Keras's LSTM.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch  # pyright: ignore[reportMissingImports] - the extra `benchmark`
from measuring import machine, versions

from charrnn.spec import ModelSpec
from charrnn.training import network
from charrnn.training.recipes import PRESETS, Recipe

CHARACTERS = 75
Step = Callable[[np.ndarray, np.ndarray], object]


def ours(spec: ModelSpec, recipe: Recipe) -> Step:
    """The training step of `charrnn train`."""
    return network.trainable(spec, recipe, batches=1000).train_on_batch


def plain_keras(spec: ModelSpec, recipe: Recipe, policy: str) -> Step:
    """The same network in Keras's own layers."""
    layers = keras.layers
    inputs = keras.Input(batch_shape=(recipe.batch_size, None), dtype="int32")
    x = layers.Embedding(spec.characters, spec.embedding, dtype=policy)(inputs)
    for units in spec.units:
        x = layers.LSTM(units, return_sequences=True, stateful=True, dtype=policy)(x)
        x = layers.Dropout(recipe.dropout, dtype=policy)(x)
    outputs = layers.Dense(spec.characters, "softmax", dtype="float32")(x)
    model: Any = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.AdamW(recipe.learning_rate, global_clipnorm=recipe.clip_norm)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    return model.train_on_batch


class TorchNetwork(torch.nn.Module):
    def __init__(self, spec: ModelSpec, recipe: Recipe):
        super().__init__()
        assert spec.embedding
        self.embedding = torch.nn.Embedding(spec.characters, spec.embedding)
        self.dropout = torch.nn.Dropout(recipe.dropout)
        self.lstm = torch.nn.LSTM(
            spec.embedding, spec.units[0], len(spec.units), dropout=recipe.dropout, batch_first=True
        )
        self.logits = torch.nn.Linear(spec.units[-1], spec.characters)

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        hidden, state = self.lstm(self.embedding(ids), state)
        return self.logits(self.dropout(hidden)), state


def pytorch(spec: ModelSpec, recipe: Recipe, bfloat16: bool) -> Step:
    model = TorchNetwork(spec, recipe)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, fused=True)
    state: Any = None

    def step(inputs: np.ndarray, targets: np.ndarray) -> None:
        nonlocal state
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits, state = model(torch.from_numpy(inputs), state)
        state = tuple(part.detach() for part in state)
        wanted = torch.from_numpy(targets).flatten().long()
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), wanted)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm or torch.inf)
        optimizer.step()
        loss.item()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description="Characters a second in training.")
    parser.add_argument("--preset", default="shakespeare", choices=["shakespeare", "chat"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, help="lanes; the preset's by default")
    parser.add_argument("--segment", type=int, help="steps; the preset's by default")
    names = ["charrnn", "keras", "torch"]
    parser.add_argument("--contestants", nargs="+", choices=names, default=["charrnn", "torch"])
    options = parser.parse_args()
    in_shares = "charrnn" in options.contestants  # as `charrnn train` sets the threads
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    tf.config.threading.set_intra_op_parallelism_threads(1 if in_shares else options.threads)
    torch.set_num_threads(options.threads)
    preset = PRESETS[options.preset]
    spec, recipe = preset.spec(CHARACTERS), preset.recipe
    recipe = replace(
        recipe,
        batch_size=options.batch_size or recipe.batch_size,
        segment=options.segment or recipe.segment,
    )
    float32 = replace(recipe, mixed_precision=False)
    contestants: dict[str, Step] = {}
    for bfloat16 in [True, False] if network.processor_has_bfloat16() else [False]:
        dtype, policy = ("bfloat16", "mixed_bfloat16") if bfloat16 else ("float32", "float32")
        if "charrnn" in options.contestants:
            contestants[f"charrnn, {dtype}"] = ours(spec, recipe if bfloat16 else float32)
        if "keras" in options.contestants:
            contestants[f"keras.layers.LSTM, {dtype}"] = plain_keras(spec, recipe, policy)
        if "torch" in options.contestants:
            contestants[f"torch.nn.LSTM, {dtype}"] = pytorch(spec, recipe, bfloat16)
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(options.rounds + 2):
        ids = rng.integers(CHARACTERS, size=(recipe.batch_size, recipe.segment + 1), dtype=np.int32)
        for name, step in contestants.items():
            start = time.perf_counter()
            step(ids[:, :-1], ids[:, 1:])
            if number >= 2:  # the first ones compile
                seconds[name].append(time.perf_counter() - start)
    batch = recipe.batch_size * recipe.segment
    speeds = {name: batch / statistics.median(times) for name, times in seconds.items()}
    reference = speeds[list(contestants)[-1]]
    print(
        f"{options.preset}: batch {recipe.batch_size} x {recipe.segment}, "
        f"{options.threads} threads, median of {options.rounds}; {machine()}; {versions()}"
    )
    print("\n| | characters a second | beside the last |\n| --- | ---: | ---: |")
    for name, speed in speeds.items():
        print(f"| {name} | {speed:,.0f} | {speed / reference:.2f} |")


if __name__ == "__main__":
    main()
