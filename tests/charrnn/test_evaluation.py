import doctest
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
from charrnn.vocabulary import Vocabulary
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


def test_lanes_read_stretches_of_the_text(stateful: Model):
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


def test_a_text_that_is_too_short_is_refused(stateful: Model, windowed: Model):
    for model, ids in ((stateful, 1), (windowed, 100)):
        with pytest.raises(CorpusError, match="must have at least"):
            evaluation.score(model.engine, np.zeros(ids, np.int32))


def test_the_examples_in_the_documentation():
    assert doctest.testmod(evaluation).failed == 0


TRAINING = "HERO:\nSo be it, and one for thee.\n\nURSULA:\nThere be some that do not say so.\n\n"


def judge(*samples: str) -> evaluation.Quality:
    """The quality of samples, judged with a vocabulary of all their characters."""
    vocabulary = Vocabulary.of(TRAINING + "".join(samples))
    return evaluation.quality(samples, TRAINING, vocabulary)


def test_words_are_known_when_they_are_in_the_training_text():
    # The last word of a sample does not count, since it may be cut off.
    assert judge("SO THEY say, and", "it be thou").known_words == pytest.approx(4 / 5)


def test_sequences_of_four_words_are_counted_over_all_samples():
    assert judge("a b c d x", "a b c d e x").distinct_4grams == pytest.approx(2 / 3)


def test_the_longest_copy_is_found():
    judged = judge("Nay, and one for me.", "some that")
    assert (judged.longest_copy, judged.copied) == (14, ", and one for ")


def test_a_speech_counts_as_named_if_its_speaker_is_in_the_training_text():
    judged = judge("go on.\n\nHERO:\nSo.\n\nNo name\n\nHERR:\nSo.\n\nUrsula:\nNot.\n\nHER")
    assert judged.named_speeches == pytest.approx(2 / 4)


def test_without_names_or_speeches_no_share_is_given():
    text = "So be it"
    assert evaluation.quality([text], text, Vocabulary.of(text)).named_speeches is None
    assert judge("So be it").named_speeches is None


def test_texts_that_repeat_themselves_are_loops():
    judged = judge("and the sea " * 20, TRAINING * 2, TRAINING, "a" * 300)
    assert judged.loops == pytest.approx(2 / 4)


def test_samples_are_reproducible_and_follow_the_opening(stateful: Model):
    samples = evaluation.write_samples(stateful, 53, Sampling(), length=20)
    assert len(set(samples)) == 53
    assert samples[52] == generate(stateful, [Prompt("", 20, rng_seed=52)])[0].text
