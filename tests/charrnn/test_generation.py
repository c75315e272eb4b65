from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.errors import OptionError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from tests.conftest import NUMBERS, TEXTS

SEEDS = [
    "",
    "To be, or not to be",
    "☃☃☃",
    "x" * 10_000,
    "אבא \u202eto be",
    "👩\u200d🚀 hero",
    "a\x00\x1b[31mb",
    "\ud800 lone",
    "\n\n\n",
]


@pytest.fixture(params=["stateful", "windowed"])
def model(request: pytest.FixtureRequest) -> Model:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_seed_is_carried_on_for_exactly_the_length_asked(model: Model, seed: str):
    [generated] = generate(model, [Prompt(seed, length=37)])
    assert len(generated.text) == 37
    assert set(generated.text) <= set(model.vocabulary.characters)


def test_what_the_model_cannot_say_is_reported(stateful: Model):
    assert generate(stateful, [Prompt("so ☃ be it", length=1)])[0].dropped == "☃"


def test_the_random_seed_decides_the_text(model: Model):
    def write(rng_seed: int) -> str:
        return generate(model, [Prompt("To be", 60, Sampling(1.0), rng_seed)])[0].text

    assert write(7) == write(7) != write(8)


def test_many_prompts_at_once_give_what_each_gives_alone(model: Model):
    prompts = [
        Prompt(seed, length=20 + 5 * n, sampling=Sampling(n / 5, 1 - n / 20), rng_seed=n)
        for n, seed in enumerate(SEEDS)
    ]
    together = generate(model, prompts)
    assert together == [generate(model, [prompt])[0] for prompt in prompts]
    assert len({generated.text[:20] for generated in together}) == len(prompts)


def test_only_the_last_hundred_characters_of_a_seed_count(model: Model):
    words = "so be it, " * 10
    long, short = (generate(model, [Prompt(s, length=30)]) for s in ("HERO no " + words, words))
    assert long == short


def test_a_short_seed_follows_the_opening(model: Model):
    assert generate(model, [Prompt("", length=30)]) == generate(
        model, [Prompt(model.opening, length=30)]
    )


@pytest.mark.parametrize("seed", ["", "So be it", "x" * 100])
def test_a_stateful_model_reads_the_whole_window_once_and_goes_on(stateful: Model, seed: str):
    """What is remembered of the opening against a loop that reads everything anew."""
    ids = stateful.vocabulary.encode(stateful.opening + seed).ids[-100:]
    for _ in range(30):
        logits, _ = stateful.engine.read(ids[np.newaxis])
        ids = np.append(ids, logits.argmax().astype(np.int32))
    [generated] = generate(stateful, [Prompt(seed, length=30, sampling=Sampling(0.0))])
    assert generated.text == stateful.vocabulary.decode(ids[100:])


def test_a_windowed_model_predicts_from_exactly_its_window(windowed: Model):
    """The sliding lanes against a loop that reads the whole window anew for each character."""
    ids = windowed.vocabulary.encode(windowed.opening).ids[-100:]
    expected = []
    for _ in range(130):
        logits, _ = windowed.engine.read(ids[np.newaxis])
        expected.append(logits[0].argmax())
        ids = np.append(ids[1:], np.int32(expected[-1]))
    [generated] = generate(windowed, [Prompt("", length=130, sampling=Sampling(0.0))])
    assert generated.text == windowed.vocabulary.decode(np.array(expected))
    assert len(set(generated.text)) > 3


def test_no_prompts_give_no_texts(model: Model):
    assert generate(model, []) == []


@pytest.mark.parametrize("options", [{"length": 0}, {"length": 10**9}, {"rng_seed": -1}])
def test_options_beyond_their_limits_are_refused(options: dict):
    with pytest.raises(OptionError):
        Prompt("", **options)


@given(seed=TEXTS, temperature=st.sampled_from([0.0, 0.7, 5.0]))
@example(seed="\ud800\udfff\0\x1b[31m" * 2500, temperature=0.7)
@example(seed="a\u0301" * 5000, temperature=0.0)
@example(seed="\ufdfa" * 10_000, temperature=5.0)  # a ligature of 18 characters
def test_any_seed_is_gone_on_from(stateful: Model, seed: str, temperature: float):
    [written] = generate(stateful, [Prompt(seed, 7, Sampling(temperature))])
    assert len(written.text) == 7
    assert set(written.text) <= set(stateful.vocabulary.characters)
    assert set(written.dropped).isdisjoint(stateful.vocabulary.characters)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.none() | NUMBERS)
@example(5, 0, 10**400, 1.0, None)
@example(1.5, 0, 0.7, 1.0, None)
@example(5, 0.5, 0.7, 1.0, None)
@example(5, 0, 0.7, 1.0, 2.5)
def test_a_prompt_is_within_its_limits_or_an_option_error(
    stateful: Model, length: Any, rng_seed: Any, temperature: Any, top_p: Any, top_k: Any
):
    try:
        prompt = Prompt("So", length, Sampling(temperature, top_p, top_k), rng_seed)
    except OptionError:
        return
    if length < 1000:
        assert len(generate(stateful, [prompt])[0].text) == length
