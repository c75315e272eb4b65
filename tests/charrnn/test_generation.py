import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.errors import OptionError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from tests.conftest import TEXTS

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


@given(seed=TEXTS, temperature=st.sampled_from([0.0, 0.7, 5.0]))
@example(seed="\ud800\udfff\0\x1b[31m" * 2500, temperature=0.7)
@example(seed="a\u0301" * 5000, temperature=0.0)
@example(seed="\ufdfa" * 10_000, temperature=5.0)  # a ligature of 18 characters
def test_any_seed_is_continued(stateful: Model, seed: str, temperature: float):
    [generated] = generate(stateful, [Prompt(seed, 7, Sampling(temperature))])
    assert len(generated.text) == 7
    assert set(generated.text) <= set(stateful.vocabulary.characters)
    assert set(generated.dropped).isdisjoint(stateful.vocabulary.characters)


def test_unknown_characters_of_the_seed_are_reported(stateful: Model):
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
    assert [len(generated.text) for generated in together] == [p.length for p in prompts]
    assert len({generated.text[:20] for generated in together}) == len(prompts)


def test_only_the_last_hundred_characters_of_a_seed_count(model: Model):
    words = "so be it, " * 10
    long, short = (generate(model, [Prompt(s, length=30)]) for s in ("HERO no " + words, words))
    assert long == short


def test_a_short_seed_follows_the_opening(model: Model):
    assert generate(model, [Prompt("", length=30)]) == generate(
        model, [Prompt(model.opening, length=30)]
    )


@pytest.mark.parametrize("seed", ["", "So be it", "x" * 100], ids=["none", "short", "full"])
def test_a_stateful_model_gives_what_reading_everything_again_gives(stateful: Model, seed: str):
    ids = stateful.vocabulary.encode(stateful.opening + seed).ids[-100:]
    for _ in range(10):
        logits, _ = stateful.engine.read(ids[np.newaxis])
        ids = np.append(ids, logits.argmax().astype(np.int32))
    [generated] = generate(stateful, [Prompt(seed, length=10, sampling=Sampling(0.0))])
    assert generated.text == stateful.vocabulary.decode(ids[100:])


def test_a_windowed_model_gives_what_reading_each_window_gives(windowed: Model):
    text = windowed.vocabulary.encode(windowed.opening).ids[-100:]
    [generated] = generate(windowed, [Prompt("", length=130, sampling=Sampling(0.0))])
    text = np.append(text, windowed.vocabulary.encode(generated.text).ids)
    windows = np.lib.stride_tricks.sliding_window_view(text[:-1], 100)
    logits, _ = windowed.engine.read(windows)  # one lane for each window
    assert text[100:].tolist() == logits.argmax(axis=-1).tolist()
    assert len(set(generated.text)) > 3


def test_no_prompts_give_no_texts(model: Model):
    assert generate(model, []) == []


@pytest.mark.parametrize(
    "options",
    [{"length": 0}, {"length": 10**9}, {"rng_seed": -1}, {"rng_seed": 2**63}],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict[str, int]):
    with pytest.raises(OptionError):
        Prompt("", **options)
