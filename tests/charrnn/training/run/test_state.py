from dataclasses import replace

import numpy as np
import pytest

from charrnn import evaluation
from charrnn.evaluation import Voice
from charrnn.training.run.state import Measured, Pace, RunState

BASE = (0.0, 2.0)  # voice, and nats per character of held-out text


def after(epochs: list[Measured]) -> RunState:
    """A run in which this was measured, before the first epoch and after each."""
    state = RunState(base_losses=epochs[0].losses.tolist())
    for n, measured in enumerate(epochs):
        state = replace(state, epoch=n)
        state = state.noting(measured, best=state.improved_by(measured))
    return state


def measured(voice: float | None, nats: float) -> Measured:
    return Measured(nats, np.full(20, nats), voice=None if voice is None else Voice(voice, 0.1))


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        ([(0.5, 1.50), (0.9, 1.49), (1.6, 1.50)], 2),  # nearest to 1
        ([(0.5, 1.50), (0.6, 1.49), (0.95, 1.515)], 3),  # though its loss is a little higher
        ([(0.5, 1.50), (0.6, 1.49), (0.95, 1.525)], 2),  # but not more than a little
        ([(0.9, 1.50), (0.5, 1.40), (0.6, 1.41)], 3),  # the first was good only for a while
        ([(0.9, 2.01), (0.9, 2.02), (0.9, 2.02)], 0),  # none is better than the base
        ([(0.9, 1.99), (1.0, 2.01), (0.9, 2.02)], 1),
    ],
)
def test_among_epochs_of_nearly_the_lowest_loss_the_voice_nearest_to_the_people_is_kept(
    epochs: list[tuple[float, float]], kept: int
):
    assert after([measured(*epoch) for epoch in [BASE, *epochs]]).best_epoch == kept


def test_without_a_voice_the_epoch_of_the_lowest_loss_is_kept():
    state = after([measured(None, nats) for nats in (2.0, 1.5, 1.4, 1.6)])
    assert (state.best_epoch, state.best_validation_loss) == (2, 1.4)


def test_each_epoch_has_the_standard_error_of_its_difference_to_the_base():
    noise = np.random.default_rng(1).normal(size=20)
    losses = (2 + noise, 1 + noise, 1 - noise)
    state = after([Measured(float(blocks.mean()), blocks) for blocks in losses])
    untouched, better, unlike = [epoch["standard_error"] for epoch in state.history]
    assert [untouched, better] == pytest.approx([0, 0])  # what both find hard does not count
    assert unlike == pytest.approx(evaluation.standard_error(1 + 2 * noise))


def test_the_speed_is_that_of_the_last_half_minute_without_the_first_batch():
    pace = Pace()
    assert pace.characters_per_second is None
    pace.add(10.0, 100)  # TensorFlow compiles
    assert pace.characters_per_second is None
    for _ in range(100):
        pace.add(1.0, 100)
    assert pace.characters_per_second == pytest.approx(100)
    for _ in range(30):
        pace.add(1.0, 10)
    assert pace.characters_per_second == pytest.approx(43, abs=1)  # 10 + 90 / e
    for _ in range(200):
        pace.add(1.0, 10)
    assert pace.characters_per_second == pytest.approx(10, rel=0.01)
