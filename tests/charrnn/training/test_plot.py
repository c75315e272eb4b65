import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from charrnn.training.plot import BACKGROUND, History, learning_curve

TRAINED: History = [
    {"validation_loss": 1.8, "voice": 0.0},
    {"loss": 1.5, "validation_loss": 1.6, "voice": None},
    {"loss": 1.2, "validation_loss": 1.7, "voice": 0.5},
]


def lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """What is drawn, by its name in the legend."""
    return {
        str(line.get_label()): [(float(x), float(y)) for x, y in np.array(line.get_data()).T]
        for line in axes.get_lines()
    }


def points(history: History, best_epoch: int) -> dict[str, list[tuple[float, float]]]:
    [axes] = learning_curve(history, best_epoch).axes
    return lines(axes)


def test_losses_are_drawn_epoch_by_epoch_with_the_kept_one_marked():
    losses = [(2.0, 1.9), (1.5, 1.6), (1.2, 1.7)]
    history = [{"loss": a, "validation_loss": b} for a, b in losses]
    drawn = points(history, 2)
    assert drawn["training"] == [(1, 2.0), (2, 1.5), (3, 1.2)]
    assert drawn["held out"] == [(1, 1.9), (2, 1.6), (3, 1.7)]
    assert drawn["kept: 1.6000"] == [(2, 1.6)]
    assert points(history, 3)["kept: 1.7000"] == [(3, 1.7)]


def test_a_base_before_training_stands_at_epoch_zero():
    drawn = points([{"validation_loss": 1.8}, {"loss": 1.5, "validation_loss": 1.6}], 1)
    assert drawn["held out"] == [(0, 1.8), (1, 1.6)]
    assert drawn["training"][1] == (1, 1.5)
    assert drawn["kept: 1.6000"] == [(1, 1.6)]


def test_the_voice_is_drawn_in_percent_above_the_losses():
    figure = learning_curve(TRAINED, 2)
    above, below = figure.axes
    figure.draw_without_rendering()
    voice = lines(above)
    assert [voice["voice"][n] for n in (0, 2)] == [(0, 0.0), (2, 0.5)]
    assert math.isnan(voice["voice"][1][1])
    assert voice["kept"] == [(2, 0.5)]
    assert "50 %" in [label.get_text() for label in above.get_yticklabels()]
    assert lines(below)["kept: 1.7000"] == [(2, 1.7)]


def test_a_voice_that_was_never_measured_is_not_drawn():
    [_] = learning_curve([{**entry, "voice": None} for entry in TRAINED], 1).axes


def test_the_picture_has_the_colours_of_discord():
    figure = learning_curve(TRAINED, 1)
    assert to_hex(figure.get_facecolor()) == BACKGROUND
    assert {to_hex(axes.get_facecolor()) for axes in figure.axes} == {BACKGROUND}


def test_bits_stand_beside_the_nats():
    figure = learning_curve([{"loss": 2.0, "validation_loss": 1.0}], 1)
    [axes] = figure.axes
    [in_bits] = axes.child_axes
    figure.draw_without_rendering()
    assert np.divide(axes.get_ylim(), math.log(2)) == pytest.approx(in_bits.get_ylim())
    assert in_bits.get_ylabel() == "bits per character"
