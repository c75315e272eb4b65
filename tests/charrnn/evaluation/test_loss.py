import math
from itertools import pairwise

import numpy as np
import pytest

from charrnn import evaluation
from charrnn.errors import CorpusError
from charrnn.evaluation import Score
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling, log_softmax
from charrnn.store import Model
from tests.conftest import random_ids


def test_bits_and_perplexity_follow_from_nats():
    score = Score(nats=math.log(8), characters=1)
    assert score.bits == pytest.approx(3)
    assert score.perplexity == pytest.approx(8)


def test_a_stateful_model_reads_the_text_with_its_state_carried(stateful: Model):
    ids = random_ids(1, len(stateful.vocabulary), 200)
    state = stateful.engine.zero_state(1)
    nats = 0.0
    for now, following in pairwise(ids):
        logits, state = stateful.engine.step(np.array([now]), state)
        nats -= log_softmax(logits)[0, following]
    losses = evaluation.losses(stateful.engine, ids)
    assert len(losses) == 199
    assert losses.mean() == pytest.approx(nats / 199)


def test_a_score_leaves_out_what_the_model_does_not_know(stateful: Model):
    text = "So be it, HERO." * 20
    score = evaluation.score(stateful, "☃" + text)
    assert score == evaluation.score(stateful, text)
    assert score.characters == len(text) - 1
    losses = evaluation.losses(stateful.engine, stateful.vocabulary.encode(text).ids)
    assert score.nats == pytest.approx(losses.mean(), rel=1e-6)


def test_lanes_read_stretches_and_losses_are_in_the_order_of_the_text(stateful: Model):
    ids = random_ids(2, len(stateful.vocabulary), 401)
    stretches = [evaluation.losses(stateful.engine, ids[n : n + 101]) for n in range(0, 400, 100)]
    losses = evaluation.losses(stateful.engine, ids, lanes=4)
    assert losses == pytest.approx(np.concatenate(stretches), rel=1e-4)
    calibrated = evaluation.calibrate(stateful.engine, ids, lanes=4).losses
    assert np.corrcoef(losses, calibrated)[0, 1] > 0.99


@pytest.mark.parametrize("length", [500, 2000, 10_000])
def test_a_standard_error_is_the_spread_of_means_even_if_neighbours_are_alike(length: int):
    rng = np.random.default_rng(9)
    # Messages of 25 characters with one loss each.
    losses = np.repeat(rng.normal(size=(400, length // 25)), 25, axis=1)
    errors = [evaluation.standard_error(evaluation.block_means(text)) for text in losses]
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(losses.mean(axis=1).std(), rel=0.1)
    alone = losses.std() / np.sqrt(length)  # as if each character were independent
    assert alone < 0.3 * np.mean(errors)


def test_a_windowed_model_predicts_each_character_from_the_window_before_it(windowed: Model):
    ids = random_ids(3, len(windowed.vocabulary), 103)
    nats = []
    for start in range(3):
        state = windowed.engine.zero_state(1)
        logits = np.empty(0)
        for n in range(start, start + 100):
            logits, state = windowed.engine.step(ids[n : n + 1], state)
        nats.append(-log_softmax(logits)[0, ids[start + 100]])
    assert evaluation.losses(windowed.engine, ids) == pytest.approx(np.array(nats), rel=1e-5)


def test_a_text_that_is_too_short_is_refused(stateful: Model, windowed: Model):
    for model, ids in ((stateful, 1), (windowed, 100)):
        with pytest.raises(CorpusError, match="must have at least"):
            evaluation.losses(model.engine, np.zeros(ids, np.int32))


class Sharpened:
    """An engine whose logits are multiplied by a factor."""

    def __init__(self, model: Model, factor: float):
        self.spec, self.zero_state = model.engine.spec, model.engine.zero_state
        self._step, self._factor = model.engine.step, factor

    def step(self, ids: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, state = self._step(ids, state)
        return self._factor * logits, state


@pytest.fixture(scope="module")
def own_text(stateful: Model) -> np.ndarray:
    """A text whose characters follow the model's own probabilities."""
    [generated] = generate(stateful, [Prompt("", 8000, Sampling(temperature=1, top_p=1))])
    written = stateful.vocabulary.encode(generated.text).ids
    return np.concatenate([stateful.opening_ids, written])  # from the zero state, as it was written


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_calibration_finds_the_factor_that_undoes_a_wrong_confidence(
    stateful: Model, own_text: np.ndarray, factor: float
):
    calibration = evaluation.calibrate(Sharpened(stateful, factor), own_text)
    assert calibration.factor == pytest.approx(1 / factor, rel=0.05)
    best = evaluation.losses(stateful.engine, own_text).mean()
    assert calibration.score.nats == pytest.approx(best, abs=0.005)


def test_a_factor_is_measured_on_text_that_did_not_choose_it(stateful: Model):
    # To the first half the model is a good one, to the second it is worse than a guess.
    first = stateful.vocabulary.encode(
        generate(stateful, [Prompt("", 3000, Sampling(temperature=0.3))])[0].text
    ).ids
    second = random_ids(5, len(stateful.vocabulary), len(first))
    ids = np.concatenate([first, second])
    calibration = evaluation.calibrate(stateful.engine, ids)
    assert calibration.score.nats > evaluation.losses(stateful.engine, ids).mean()
