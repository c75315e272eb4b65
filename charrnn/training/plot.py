"""The learning curve as a picture."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

LN_2 = math.log(2)  # nats in a bit


def learning_curve(history: Sequence[dict[str, float]]) -> Figure:
    """The losses of each epoch in nats and bits per character, with the best epoch marked. If the
    first entry has no `loss`, it is a base before training, and is drawn as epoch 0."""
    first = 0 if "loss" not in history[0] else 1
    epochs = range(first, first + len(history))
    validation = [losses["validation_loss"] for losses in history]
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot(epochs, [losses.get("loss", math.nan) for losses in history], "o-", label="training")
    axes.plot(epochs, validation, "o-", label="held out")
    best = validation.index(min(validation))
    label = f"best: {validation[best]:.4f}"
    axes.plot(epochs[best], validation[best], "k*", markersize=14, label=label)
    axes.set(xlabel="epoch", ylabel="loss, nats per character")
    in_bits = axes.secondary_yaxis("right", functions=(_bits, _nats))
    in_bits.set_ylabel("bits per character")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _bits(nats: ArrayLike) -> ArrayLike:
    return np.divide(nats, LN_2)


def _nats(bits: ArrayLike) -> ArrayLike:
    return np.multiply(bits, LN_2)
