import doctest
import math
from itertools import pairwise

import numpy as np
import pytest

from charrnn import evaluation
from charrnn.errors import CorpusError
from charrnn.evaluation import Score, VoiceJudge
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


def test_losses_are_in_the_order_of_the_text(stateful: Model):
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
    score = evaluation.score(windowed.engine, ids)
    assert score.characters == 3
    assert score.nats == pytest.approx(np.mean(nats), rel=1e-6)


def test_a_text_that_is_too_short_is_refused(stateful: Model, windowed: Model):
    for model, ids in ((stateful, 1), (windowed, 100)):
        with pytest.raises(CorpusError, match="must have at least"):
            evaluation.score(model.engine, np.zeros(ids, np.int32))


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
    assert calibration.constant == pytest.approx(1 / factor, rel=0.05)
    best = evaluation.score(stateful.engine, own_text).nats
    assert calibration.score.nats == pytest.approx(best, abs=0.005)


def test_a_factor_is_measured_on_text_that_did_not_choose_it(stateful: Model):
    # To the first half the model is a good one, to the second it is worse than a guess.
    first = stateful.vocabulary.encode(
        generate(stateful, [Prompt("", 3000, Sampling(temperature=0.3))])[0].text
    ).ids
    second = random_ids(5, len(stateful.vocabulary), len(first))
    ids = np.concatenate([first, second])
    calibration = evaluation.calibrate(stateful.engine, ids)
    assert calibration.score.nats > evaluation.score(stateful.engine, ids).nats


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


def test_speakers_are_those_of_ten_speeches_or_more_most_frequent_first():
    speech = "{}:\nSo be it.\n\n"
    play = speech.format("IAGO") * 10 + speech.format("HERO") * 11 + speech.format("Clown") * 9
    assert evaluation.speakers(play) == ["HERO", "IAGO"]
    assert evaluation.speakers("HERO: so be it\n" * 20) == []


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


def test_lines_of_twenty_characters_count_as_messages_but_not_those_that_may_be_cut_off():
    judged = judge("be it\nSo be it, and one for thee.\nSo be it.\nThere be some that do not say")
    assert judged.messages == pytest.approx(1 / 2)


def chat(rng: np.random.Generator, words: str, count: int = 40) -> str:
    """So many messages of seven random words."""
    return "".join(" ".join(rng.choice(words.split(), 7)) + "\n" for _ in range(count))


PEOPLE, BASE = "quokka burrow nibble snack the and of a", "kernel install partition the and of a"


MIXED = f"{PEOPLE} {BASE}"  # of which each message has a share of its own


def value(judge: VoiceJudge, *samples: str) -> float:
    voice = judge.voice(samples)
    assert voice
    return voice.value


def test_a_voice_is_1_for_the_people_0_for_the_base_and_between_for_a_mixture():
    rng = np.random.default_rng(1)
    judge = VoiceJudge(chat(rng, PEOPLE, 120), [chat(rng, BASE) for _ in range(4)])
    people, base = chat(rng, PEOPLE, 300), chat(rng, BASE, 300)
    assert value(judge, people) == pytest.approx(1, abs=0.1)
    assert value(judge, base) == pytest.approx(0, abs=0.1)
    assert value(judge, people, base) == pytest.approx(0.5, abs=0.1)


def test_a_few_messages_are_not_judged():
    rng = np.random.default_rng(6)
    judge = VoiceJudge(chat(rng, PEOPLE, 120), [chat(rng, BASE) for _ in range(4)])
    assert judge.voice(["one line\nand the end"]) is None
    assert judge.voice([chat(rng, PEOPLE, 10)]) is None  # the first and the last may be cut off
    assert judge.voice([chat(rng, PEOPLE, 11)]) is not None


def test_invented_words_say_nothing():
    rng = np.random.default_rng(7)
    judge = VoiceJudge(chat(rng, PEOPLE, 900), [chat(rng, BASE) for _ in range(4)])
    invented = [f"{line} qwx zvb" for line in chat(rng, PEOPLE).split("\n")]
    plain = "\n".join(line.removesuffix(" qwx zvb") for line in invented)
    assert value(judge, "\n".join(invented)) == pytest.approx(value(judge, plain))


def test_a_caricature_has_a_voice_above_1():
    rng = np.random.default_rng(2)
    judge = VoiceJudge(chat(rng, PEOPLE, 120), [chat(rng, BASE) for _ in range(4)])
    assert value(judge, chat(rng, "quokka burrow nibble snack")) > 1.2


def test_a_voice_differs_between_samples_and_held_out_messages_as_its_standard_error_says():
    rng = np.random.default_rng(8)
    learnt, base = chat(rng, PEOPLE, 60), [chat(rng, BASE) for _ in range(4)]
    voices = []
    for _ in range(200):
        # The first two thirds train the judge, the last is one end of its scale.
        judge = VoiceJudge(learnt + chat(rng, MIXED, 30), base)
        voice = judge.voice([chat(rng, MIXED, 20)])
        assert voice
        voices.append((voice.value, voice.standard_error))
    values, errors = np.array(voices).T
    assert values.mean() == pytest.approx(1, abs=0.05)
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.2)


@pytest.mark.parametrize(
    ("people", "base"),
    [
        ("кенгуру нора зёрна листья в и на", "ядро раздел установить в и на"),
        ("🦘 🍃 🍂 🌿 🥜", "💻 🔧 🐧 💾 🔌"),
        ("カンガルー 巣穴で 種を 葉っぱ", "カーネル 分割で 導入を 起動"),
    ],
)
def test_other_alphabets_and_emoji_have_a_voice_too(people: str, base: str):
    def messages(words: str, count: int = 40) -> str:
        text = chat(rng, words, count).replace("\n", " 20charactersormore\n")
        return text.replace(" ", "") if "種" in text or "分" in text else text  # as Japanese is

    rng = np.random.default_rng(3)
    judge = VoiceJudge(messages(people, 120), [messages(base) for _ in range(4)])
    assert value(judge, messages(people)) == pytest.approx(1, abs=0.3)
    assert value(judge, messages(base)) == pytest.approx(0, abs=0.3)


def test_a_voice_that_cannot_be_told_from_the_base_is_not_judged():
    rng = np.random.default_rng(4)
    with pytest.raises(CorpusError, match="cannot be told"):
        VoiceJudge(chat(rng, BASE), [chat(rng, BASE) for _ in range(4)])


def test_a_voice_takes_some_messages():
    rng = np.random.default_rng(5)
    with pytest.raises(CorpusError, match="too few messages"):
        VoiceJudge(chat(rng, PEOPLE, 3), [chat(rng, BASE)] * 2)


def test_samples_are_reproducible_and_follow_the_opening(stateful: Model):
    samples = evaluation.write_samples(stateful, 53, Sampling(), length=20)
    assert len(set(samples)) == 53
    assert samples[52] == generate(stateful, [Prompt("", 20, rng_seed=52)])[0].text
    assert evaluation.write_samples(stateful, 2, Sampling(), 20, first_seed=51) == samples[51:]
