"""The learning curve as a picture, in the dark colours of Discord, where most people see it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

LN_2 = math.log(2)  # nats in a bit

BACKGROUND, TEXT, LINES = "#2b2d31", "#dbdee1", "#4e5058"  # as in an embed
TRAINING, HELD_OUT, VOICE, KEPT = "#949cf7", "#57f287", "#fee75c", "#ffffff"
STYLE: dict[Any, Any] = {
    "figure.figsize": (5.6, 4.2),  # Discord shows it 400 pixels wide, so a point is a pixel
    "figure.dpi": 200,
    "figure.facecolor": BACKGROUND,
    "axes.facecolor": BACKGROUND,
    "axes.edgecolor": LINES,
    "axes.labelcolor": TEXT,
    "axes.grid": True,
    "grid.color": LINES,
    "grid.alpha": 0.5,
    "xtick.color": LINES,
    "ytick.color": LINES,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "text.color": TEXT,
    "font.size": 11,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.marker": "o",
    "lines.markersize": 4,
}

History = Sequence[Mapping[str, float | None]]


def learning_curve(history: History, best_epoch: int) -> Figure:
    """The losses of each epoch in nats and bits per character, and above them the voice if it was
    measured. `best_epoch`, the one that is kept, has a star. If the first entry has no `loss`, it
    is a base before training, and is drawn as epoch 0."""
    first = 0 if "loss" not in history[0] else 1
    epochs, kept = np.arange(len(history)) + first, best_epoch - first
    voice = _column(history, "voice")
    with mpl.rc_context(STYLE):
        figure = Figure(layout="constrained")
        if np.isnan(voice).all():
            losses = figure.subplots()
        else:
            above, losses = figure.subplots(2, sharex=True, height_ratios=(2, 3))
            _draw_voice(above, epochs, voice, kept)
        _draw_losses(losses, epochs, history, kept)
    return figure


def _draw_voice(axes: Axes, epochs: np.ndarray, voice: np.ndarray, kept: int) -> None:
    axes.plot(epochs, voice, color=VOICE, label="voice")
    _mark(axes, epochs[kept], voice[kept])
    axes.set_ylabel("sounds like")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
    ends = axes.secondary_yaxis("right")
    ends.set_yticks([0, 1], labels=["its base", "the people"])
    axes.set_ylim(min(0, np.nanmin(voice)) - 0.1, max(1, np.nanmax(voice)) + 0.1)


def _draw_losses(axes: Axes, epochs: np.ndarray, history: History, kept: int) -> None:
    held_out = _column(history, "validation_loss")
    axes.plot(epochs, _column(history, "loss"), color=TRAINING, label="training")
    axes.plot(epochs, held_out, color=HELD_OUT, label="held out")
    _mark(axes, epochs[kept], held_out[kept], f"kept: {held_out[kept]:.4f}")
    axes.set(xlabel="epoch", ylabel="nats per character")
    in_bits = axes.secondary_yaxis("right", functions=(_bits, _nats))
    in_bits.set_ylabel("bits per character")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _mark(axes: Axes, epoch: float, value: float, label: str = "kept") -> None:
    axes.plot(epoch, value, "*", color=KEPT, markersize=13, label=label, zorder=3)


def _column(history: History, name: str) -> np.ndarray:
    """What was measured at each epoch; nan where nothing was."""
    return np.array([entry.get(name) for entry in history], float)


def _bits(nats: ArrayLike) -> ArrayLike:
    return np.divide(nats, LN_2)


def _nats(bits: ArrayLike) -> ArrayLike:
    return np.multiply(bits, LN_2)
