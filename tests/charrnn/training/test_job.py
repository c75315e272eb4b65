from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from charrnn.errors import CorpusError
from charrnn.store import Model
from charrnn.training.job import TrainingData, segments, windows
from tests.charrnn.training.conftest import BATCHES, SMALL, TEXT, WINDOWED, job

JOB = job(Path("m"))


def test_a_vocabulary_has_the_characters_that_occur_often_enough():
    rare = job(Path("m"), least_occurrences=5)
    vocabulary = TrainingData(replace(rare, text=TEXT + "é" * 5 + "$" * 4)).vocabulary
    assert vocabulary.characters == "".join(sorted({*TEXT, "é"}))


def test_fine_tuning_adds_new_characters_after_those_of_the_base(stateful: Model):
    text = TEXT + "é☃" * 20 + "$"
    tuned = TrainingData(replace(job(Path("m"), stateful, least_occurrences=5), text=text))
    assert tuned.vocabulary.characters == stateful.vocabulary.characters + "LUé☃"
    assert tuned.spec == replace(stateful.card.spec, characters=len(tuned.vocabulary))


def test_a_windowed_base_keeps_its_vocabulary(windowed: Model):
    tuned = TrainingData(replace(job(Path("m"), windowed), text=TEXT + "☃" * 20))
    assert tuned.vocabulary == windowed.vocabulary


@pytest.mark.parametrize("preset", [SMALL, WINDOWED])
def test_an_epoch_has_the_same_batches_every_time_and_another_has_others(preset):
    data = TrainingData(job(Path("m"), preset))
    first, again, second = (list(data.batches(epoch)) for epoch in (0, 0, 1))
    assert len(first) == len(second) == data.batch_count == BATCHES
    for (inputs, targets), (same_inputs, same_targets) in zip(first, again, strict=True):
        assert (inputs == same_inputs).all() and (targets == same_targets).all()
    assert any((one != two).any() for (one, _), (two, _) in zip(first, second, strict=True))


def test_windows_are_scaled_and_segments_are_ids():
    [(ids, next_ids), *_], [(scaled, _), *_] = (
        list(TrainingData(job(Path("m"), preset)).batches(0)) for preset in (SMALL, WINDOWED)
    )
    assert ids.shape == next_ids.shape == (4, 10)
    assert (ids[:, 1:] == next_ids[:, :-1]).all()
    assert scaled.shape[1:] == (100, 1) and scaled.dtype == np.float32
    assert 0 <= scaled.min() < scaled.max() < 1


def test_segments_continue_each_lane_and_cover_the_text():
    ids = np.arange(100, dtype=np.int32)
    found = list(segments(ids, lanes=4, steps=5, offset=90))
    assert [s.shape for s in found] == [(4, 6)] * 5
    for earlier, later in pairwise(found):
        assert (earlier[:, -1] == later[:, 0]).all()
    assert sorted(i for s in found for i in s[:, 1:].ravel()) == list(range(100))


def test_windows_contain_every_window_once_in_random_order():
    ids = np.arange(30, dtype=np.int32)
    batches = list(windows(ids, window=7, batch=4, rng=np.random.default_rng(0)))
    starts = [int(row[0]) for inputs, _ in batches for row in inputs]
    assert sorted(starts) == list(range(23))
    assert starts != sorted(starts)
    for inputs, targets in batches:
        assert (inputs[:, 0] + 7 == targets).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text": ""}, "there is none left to train on"),
        ({"text": TEXT[:99]}, "must have at least 100 characters"),
        ({"validation_text": "So be it."}, "has 9 characters that the model knows. It takes 200"),
        ({"validation_text": "☃" * 500}, "has 0 characters that the model knows. It takes 200"),
        ({"text": "a" * 500}, "Only one character of this text can be learnt"),
        ({"text": "a" * 500 + "☃"}, "Only one character of this text can be learnt"),
        ({"text": "ab" * 100 + "".join(map(chr, range(0x4E00, 0x5000)))}, "only 28 % of"),
        ({"text": "".join(map(chr, range(0x4E00, 0x5000)))}, "occurs 2 times"),
    ],
)
def test_a_text_that_cannot_be_learnt_is_refused(changes: dict[str, str], sentence: str):
    with pytest.raises(CorpusError, match=sentence):
        TrainingData(replace(job(Path("m"), least_occurrences=2), **changes))


def test_characters_that_are_read_as_one_count_as_one(windowed: Model):
    with pytest.raises(CorpusError, match="Only one character"):
        TrainingData(replace(job(Path("m"), windowed), text="aAá" * 500))


def test_a_windowed_base_refuses_an_alphabet_that_it_cannot_learn(windowed: Model):
    with pytest.raises(CorpusError, match="only 25 % of this text's characters"):
        TrainingData(replace(job(Path("m"), windowed), text="Ада ёжик утром. " * 100))
