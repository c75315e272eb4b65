"""Channels in other alphabets, from the text to what a model trained on it writes."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from charrnn import store
from charrnn.generation import Prompt, generate
from charrnn.spec import ModelSpec
from charrnn.store import Model
from charrnn.text.messages import Message, join_messages
from charrnn.training.conversion.convert import convert
from charrnn.training.events import Warned, parse_event
from charrnn.training.job import Job, left_out
from charrnn.training.run.train import train
from charrnn.vocabulary import MAX_CHARACTERS, Vocabulary
from tests.charrnn.training.conftest import SMALL, ignore
from tests.conftest import keras_model

RUSSIAN = "Ада ёжик утром вечером кошка сервер снова наш тихо играет пишет ждёт чай, сегодня?"
EMOJI = "👩\u200d🚀 👍🏽 👍 🇯🇵 ❤️\u200d🔥 1️⃣ 🏳️\u200d🌈 👨\u200d👩\u200d👧 🩷 😂 :кек: лол"
KANJI = " ".join(chr(n) for n in range(0x4E00, 0x4E00 + 4000))


def channel(words: str, separator: str, count: int) -> str:
    """`count` messages of ten of the words, the first of which are the most frequent."""
    choices = np.array(words.split())
    weights = 1 / np.arange(10, len(choices) + 10)
    drawn = np.random.default_rng(1).choice(choices, (count, 10), p=weights / weights.sum())
    return join_messages(Message("ada", separator.join(line)) for line in drawn)[0]


TEXTS = {
    "Russian": channel(RUSSIAN, " ", 100),
    "Japanese": channel(f"は の を が で す 。 ！ {KANJI}", "", 400),
    "emoji": channel(EMOJI, " ", 200),
}


def test_a_base_learns_to_write_in_other_alphabets(stateful: Model, tmp_path: Path):
    text = "".join(TEXTS.values())
    recipe = replace(SMALL.recipe, epochs=1, batch_size=16, segment=50)
    job = Job(text, text[:400], tmp_path / "m", stateful, recipe, longest_copy=40)
    model = train(job, ignore)
    assert set(text) <= set(model.vocabulary.characters)
    assert set(model.opening) == {"\n"}  # neither English nor copied
    written = generate(model, [Prompt(text[:20]) for text in TEXTS.values()])
    assert [len(one.text) for one in written] == [500] * len(TEXTS)
    assert not any(one.dropped for one in written)


def test_the_most_frequent_characters_are_learnt_and_the_others_are_named():
    text = channel(KANJI, "", 6000)
    counts = Counter(text)
    assert len(counts) > MAX_CHARACTERS + 500
    vocabulary = Vocabulary.learnt(counts, 1, known="\nabc")
    assert len(vocabulary) == MAX_CHARACTERS
    assert vocabulary.characters.startswith("\nabc")
    rare = vocabulary.unknown(counts)
    assert rare.total() < 0.05 * len(text)
    assert max(rare.values()) <= min(counts[c] for c in vocabulary.characters[4:])
    assert left_out(rare).startswith("characters too rare to learn: ")
    assert left_out(Counter("☃")) == "character too rare to learn: ☃"


@pytest.mark.parametrize("saved", ["NFC", "NFD"])
def test_a_converted_model_reads_accents_as_its_training_text_had_them(tmp_path: Path, saved: str):
    text = "Le café était fermé à côté.\n" * 20
    apart = normalize("NFD", text).lower()
    spec = ModelSpec(len(set(apart)), units=(7,), embedding=None, stateful=False)
    keras_model(spec).save(tmp_path / "m.keras")
    (tmp_path / "text.txt").write_text(normalize(saved, text), encoding="utf-8")
    convert(tmp_path / "m.keras", tmp_path / "text.txt", tmp_path / "m")
    vocabulary = store.load(tmp_path / "m").vocabulary
    assert vocabulary.characters == "".join(sorted(set(apart)))
    encoded = vocabulary.encode("Café à côté")
    assert vocabulary.decode(encoded.ids) == normalize("NFD", "café à côté")
    assert encoded.dropped == ""


def test_accents_do_not_make_another_alphabet():
    english = Vocabulary("\n ,.?abcdefghijklmnopqrstuvwxyz")
    assert english.known_share(Counter("Où êtes-vous? Fühlst du dich wohl?")) > 0.9
    assert english.known_share(Counter(TEXTS["Russian"])) < 0.3


def test_a_base_that_cannot_learn_characters_does_not_say_that_it_does(
    charrnn: Callable[..., str], windowed: Model, tmp_path: Path
):
    text = tmp_path / "text.txt"
    text.write_text(TEXTS["Russian"], encoding="utf-8")
    options = ("--output", tmp_path / "model", "--base", windowed.folder)
    said = charrnn("train", text, *options, fails=True)
    assert "characters that sliding does not know and cannot learn" in said
    assert "can learn only" in said
    assert "It learns them" not in said


def test_train_says_what_the_base_does_not_know_and_what_is_left_out(
    charrnn: Callable[..., str], stateful: Model, tmp_path: Path
):
    text = tmp_path / "text.txt"
    text.write_text(TEXTS["Russian"], encoding="utf-8")
    output = ("--output", tmp_path / "model")
    said = charrnn("train", text, *output, "--base", stateful.folder, fails=True)
    assert "too few to train on. It takes 11,111" in said  # not 2,000 as in the base's own alphabet
    text.write_text("☃☃" + TEXTS["Russian"] * 2, encoding="utf-8")
    options = ("--epochs", "1", "--base", stateful.folder, "--progress", "json")
    printed = charrnn("train", text, *output, *options)
    warnings = [e.message for e in map(parse_event, printed.splitlines()) if isinstance(e, Warned)]
    assert any(re.search("does not know 8. % of this text's characters", w) for w in warnings)
    assert any("Left out: 2 characters too rare to learn: ☃" in w for w in warnings)
