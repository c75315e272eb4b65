import math
from itertools import pairwise

import numpy as np
import pytest

from charrnn import evaluation
from charrnn.errors import CorpusError
from charrnn.evaluation import Score
from charrnn.sampling import log_softmax
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
    score = evaluation.score(stateful.engine, ids)
    assert score.characters == 199
    assert score.nats == pytest.approx(nats / 199)


def test_more_lanes_predict_the_same_text_in_stretches(stateful: Model):
    ids = random_ids(2, len(stateful.vocabulary), 401)
    stretches = [evaluation.score(stateful.engine, ids[n : n + 101]) for n in range(0, 400, 100)]
    score = evaluation.score(stateful.engine, ids, lanes=4)
    assert score.characters == 400
    assert score.nats == pytest.approx(np.mean([s.nats for s in stretches]))


def test_a_windowed_model_predicts_each_character_from_the_window_before_it(windowed: Model):
    ids = random_ids(3, len(windowed.vocabulary), 103)
    nats = []
    for start in range(3):
        state = windowed.engine.zero_state(1)
        logits = np.empty(0)
        for n in range(start, start + 100):
            logits, state = windowed.engine.step(ids[n : n + 1], state)
        nats.append(-log_softmax(logits)[0, ids[start + 100]])
    score = evaluation.score(windowed.engine, ids)
    assert score.characters == 3
    assert score.nats == pytest.approx(np.mean(nats), rel=1e-6)


def test_too_short_a_text_is_refused(stateful: Model, windowed: Model):
    for model, ids in ((stateful, 1), (windowed, 100)):
        with pytest.raises(CorpusError, match="must have at least"):
            evaluation.score(model.engine, np.zeros(ids, np.int32))
