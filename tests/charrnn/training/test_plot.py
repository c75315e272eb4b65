import math

import numpy as np
import pytest

from charrnn.training.plot import learning_curve


def points(history: list[dict[str, float]]) -> dict[str, list[tuple[float, float]]]:
    """What is drawn, by its name in the legend."""
    [axes] = learning_curve(history).axes
    return {
        str(line.get_label()): [(float(x), float(y)) for x, y in np.array(line.get_data()).T]
        for line in axes.get_lines()
    }


def test_losses_are_drawn_epoch_by_epoch_with_the_best_one_marked():
    losses = [(2.0, 1.9), (1.5, 1.6), (1.2, 1.7)]
    drawn = points([{"loss": a, "validation_loss": b} for a, b in losses])
    assert drawn["training"] == [(1, 2.0), (2, 1.5), (3, 1.2)]
    assert drawn["held out"] == [(1, 1.9), (2, 1.6), (3, 1.7)]
    assert drawn["best: 1.6000"] == [(2, 1.6)]


def test_a_base_before_training_stands_at_epoch_zero():
    drawn = points([{"validation_loss": 1.8}, {"loss": 1.5, "validation_loss": 1.6}])
    assert drawn["held out"] == [(0, 1.8), (1, 1.6)]
    assert drawn["training"][1] == (1, 1.5)


def test_bits_stand_beside_the_nats():
    figure = learning_curve([{"loss": 2.0, "validation_loss": 1.0}])
    [axes] = figure.axes
    [in_bits] = axes.child_axes
    figure.draw_without_rendering()
    assert np.divide(axes.get_ylim(), math.log(2)) == pytest.approx(in_bits.get_ylim())
    assert in_bits.get_ylabel() == "bits per character"
