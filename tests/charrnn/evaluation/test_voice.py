import numpy as np
import pytest

from charrnn.errors import CorpusError
from charrnn.evaluation import VoiceJudge


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
