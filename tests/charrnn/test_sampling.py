from functools import cache

import numpy as np
import pytest

from charrnn.engine import Engine
from charrnn.errors import OptionError
from charrnn.sampling import LaneSampling, Sampling, log_softmax
from charrnn.spec import ModelSpec
from charrnn.training import export
from charrnn.training.graph import SHORTLIST
from charrnn.training.network import build
from charrnn.training.recipes import PRESETS

LOGITS = np.array([2.0, 0.5, 1.0, -1.0, 0.0], np.float32)
DRAWS = 20_000
JUST_BELOW_ONE = np.float32(1 - 2**-24)


@cache
def zero_engine(characters: int) -> Engine:
    """A network whose logits are all zero."""
    spec = ModelSpec(characters, units=(1,), embedding=1, stateful=True)
    model = build(spec, PRESETS["shakespeare"].recipe)
    model.set_weights([np.zeros_like(weights) for weights in model.get_weights()])
    return Engine(export.writing_graph(model, int8=False), spec)


def choose(logits: np.ndarray, uniform: np.ndarray, samplings: list[Sampling]) -> np.ndarray:
    """What the graph chooses from logits `(B, V)` by uniform numbers `(B,)`: ids `(B,)`."""
    lanes, characters = logits.shape
    engine = zero_engine(characters)
    chosen, _ = engine.write(
        np.zeros(lanes, np.int32),
        engine.zero_state(lanes),
        uniform.astype(np.float32)[np.newaxis],
        LaneSampling.of(samplings, characters),
        bias=logits,
    )
    return chosen[0]


def draw(sampling: Sampling, rng_seed: int = 0) -> np.ndarray:
    """How often each of the five characters was chosen."""
    uniform = np.random.default_rng(rng_seed).random(DRAWS, np.float32)
    chosen = choose(np.tile(LOGITS, (DRAWS, 1)), uniform, [sampling] * DRAWS)
    return np.bincount(chosen, minlength=len(LOGITS))


def probabilities(temperature: float, kept: list[int]) -> np.ndarray:
    weights = np.zeros(len(LOGITS))
    weights[kept] = np.exp(LOGITS[kept] / temperature)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(1.0, top_p=1.0), [0, 1, 2, 3, 4]),
        (Sampling(0.5, top_p=1.0), [0, 1, 2, 3, 4]),
        (Sampling(2.0, top_p=1.0, top_k=3), [0, 1, 2]),
        # At temperature 1 the two likeliest hold 0.74, the three likeliest 0.87.
        (Sampling(1.0, top_p=0.8), [0, 1, 2]),
        (Sampling(1.0, top_p=0.7), [0, 2]),
    ],
)
def test_characters_are_chosen_as_often_as_they_are_likely(sampling: Sampling, kept: list[int]):
    expected = probabilities(sampling.temperature, kept) * DRAWS
    found = draw(sampling)
    assert found[expected == 0].sum() == 0
    chi_squared = ((found[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    assert chi_squared < 18.5  # the 0.1 % point at four degrees of freedom


def test_temperature_zero_is_argmax():
    assert draw(Sampling(0.0)).tolist() == [DRAWS, 0, 0, 0, 0]


def test_the_likeliest_character_is_always_kept():
    assert draw(Sampling(1.0, top_p=1e-9)).tolist() == [DRAWS, 0, 0, 0, 0]


def test_the_smallest_and_largest_numbers_choose_the_likeliest_and_unlikeliest_character():
    samplings = [Sampling(1.0, top_p=1.0)] * 2
    chosen = choose(np.stack([LOGITS] * 2), np.array([0.0, JUST_BELOW_ONE]), samplings)
    assert chosen.tolist() == [0, 3]


def test_no_number_chooses_a_character_that_is_not_kept():
    logits = np.random.default_rng(6).normal(size=(5000, 7)).astype(np.float32)
    chosen = choose(logits, np.full(5000, JUST_BELOW_ONE), [Sampling(1.0, 0.9, top_k=2)] * 5000)
    likeliest, second = np.argsort(-logits)[:, :2].T
    assert (chosen == second).mean() > 0.8  # the others: one alone reaches 0.9
    assert ((chosen == likeliest) | (chosen == second)).all()


def test_sampling_does_not_depend_on_other_lanes():
    rng = np.random.default_rng(5)
    logits, uniform = rng.normal(size=(40, 77)).astype(np.float32) * 4, rng.random(40)
    samplings = [Sampling(n / 20, 1 - n / 41) for n in range(40)]
    # In some lanes, top-p keeps more characters than the graph's shortlist holds.
    likely = np.sort(np.exp(log_softmax(logits)))[:, -SHORTLIST:].sum(axis=-1)
    assert (likely < [s.top_p for s in samplings]).any()
    together = choose(logits, uniform, samplings)
    for lane, sampling in enumerate(samplings):
        alone = choose(logits[lane : lane + 1], uniform[lane : lane + 1], [sampling])
        assert alone == together[lane]


@pytest.mark.parametrize("top_p", [0.5, 0.95, 1.0])
def test_top_p_keeps_the_likeliest_of_many_characters(top_p: float):
    rng = np.random.default_rng(7)
    logits, uniform = rng.normal(size=(300, 90)) * 2, rng.random(300)
    chosen = choose(logits.astype(np.float32), uniform, [Sampling(0.8, top_p)] * 300)
    likely = np.exp(log_softmax(logits / 0.8))
    for lane, order in enumerate(np.argsort(-likely)):
        reached = likely[lane, order].cumsum()
        kept = reached[: np.searchsorted(reached, min(top_p, reached[-1])) + 1]
        assert chosen[lane] == order[np.searchsorted(kept, uniform[lane] * kept[-1], "right")]


def test_log_softmax_is_exact_for_logits_of_any_size():
    np.testing.assert_allclose(np.exp(log_softmax(np.array([[1e4, 1e4]]))), [[0.5, 0.5]])


@pytest.mark.parametrize(
    "options",
    [(-0.1,), (5.1,), (float("nan"),), (1.0, 0.0), (1.0, 1.1), (1.0, 1.0, 0)],
)
def test_options_out_of_range_are_refused(options: tuple):
    with pytest.raises(OptionError):
        Sampling(*options)
