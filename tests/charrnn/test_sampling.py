import numpy as np
import pytest

from charrnn.errors import OptionError
from charrnn.sampling import Sampler, Sampling, log_softmax

LOGITS = np.array([2.0, 0.5, 1.0, -1.0, 0.0], np.float32)
DRAWS = 20_000


def draw(sampling: Sampling, rng_seed: int = 0) -> np.ndarray:
    """How often each of the five characters was chosen."""
    uniform = np.random.default_rng(rng_seed).random(DRAWS)
    sampler = Sampler([sampling] * DRAWS, len(LOGITS))
    chosen = sampler(np.tile(LOGITS, (DRAWS, 1)), uniform)
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


def test_the_uniform_numbers_of_either_end_choose_the_first_and_the_last_character():
    sampler = Sampler([Sampling(1.0, top_p=1.0)] * 2, len(LOGITS))
    assert sampler(np.stack([LOGITS] * 2), np.array([0.0, 1 - 2**-53])).tolist() == [0, 4]


def test_no_uniform_number_chooses_beyond_what_is_kept():
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(5000, 7)).astype(np.float32)
    chosen = Sampler([Sampling(1.0, 0.9, 2)] * 5000, 7)(logits, np.full(5000, 1 - 2**-53))
    likeliest, second = np.argsort(-logits)[:, :2].T
    assert (chosen == np.maximum(likeliest, second)).mean() > 0.8  # the last of those kept
    assert ((chosen == likeliest) | (chosen == second)).all()


def test_a_lane_is_sampled_as_it_would_be_alone():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(40, 77)).astype(np.float32)
    uniform = rng.random(40)
    samplings = [Sampling(n / 20, 1 - n / 41) for n in range(40)]
    together = Sampler(samplings, 77)(logits, uniform)
    for lane, sampling in enumerate(samplings):
        alone = Sampler([sampling], 77)(logits[lane : lane + 1], uniform[lane : lane + 1])
        assert alone == together[lane]


def test_log_softmax_is_exact_for_logits_of_any_size():
    np.testing.assert_allclose(np.exp(log_softmax(np.array([[1e4, 1e4]]))), [[0.5, 0.5]])


@pytest.mark.parametrize(
    "options",
    [(-0.1,), (5.1,), (float("nan"),), (1.0, 0.0), (1.0, 1.1), (1.0, 1.0, 0)],
)
def test_options_beyond_their_limits_are_refused(options: tuple):
    with pytest.raises(OptionError):
        Sampling(*options)
