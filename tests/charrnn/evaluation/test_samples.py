import doctest

import pytest

from charrnn import evaluation
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from charrnn.vocabulary import Vocabulary


def test_the_examples_in_the_documentation():
    assert doctest.testmod(evaluation.samples).failed == 0


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
    assert judged.long_lines == pytest.approx(1 / 2)


def test_samples_are_reproducible_and_follow_the_opening(stateful: Model):
    samples = evaluation.write_samples(stateful, 53, Sampling(), length=20)
    assert len(set(samples)) == 53
    assert samples[52] == generate(stateful, [Prompt("", 20, rng_seed=52)])[0].text
    assert evaluation.write_samples(stateful, 2, Sampling(), 20, first_seed=51) == samples[51:]
