import doctest

import numpy as np
import pytest

from charrnn import verbatim
from charrnn.errors import OptionError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from charrnn.verbatim import VerbatimGuard, longest_copy
from tests.conftest import random_ids


def test_the_examples_in_the_documentation():
    assert doctest.testmod(verbatim).failed == 0


def naive_longest(text: np.ndarray, source: np.ndarray) -> int:
    """Over all pairs of places."""
    best = 0
    for i in range(len(text)):
        for j in range(len(source)):
            n = 0
            while i + n < len(text) and j + n < len(source) and text[i + n] == source[j + n]:
                n += 1
            best = max(best, n)
    return best


@pytest.mark.parametrize("rng_seed", range(8))
def test_the_longest_copy_is_what_comparing_all_places_finds(rng_seed: int):
    source = random_ids(rng_seed, 3, 60)
    texts = [random_ids(rng_seed + 100, 3, 40), random_ids(rng_seed + 200, 3, 25)]
    length, run = longest_copy(texts, source)
    assert length == len(run) == max(naive_longest(text, source) for text in texts)
    assert naive_longest(run, source) == length


def test_nothing_in_common_is_no_copy():
    assert longest_copy([np.array([1, 2], np.int32)], np.array([3, 4], np.int32))[0] == 0


@pytest.mark.parametrize("longest", [1, 5, 12])
def test_no_text_copies_more_than_it_may(stateful: Model, longest: int):
    prompts = [
        Prompt(seed, 200, Sampling(0.0 if n == 1 else 0.8), rng_seed=n)
        for n, seed in enumerate(["", "So be it", "Hero", "So be it. Hero. And one for thee"])
    ]
    # Its own free texts are what such a model copies most willingly.
    free = generate(stateful, prompts)
    source = stateful.vocabulary.encode("".join(written.text for written in free)).ids
    guard = VerbatimGuard(source, longest, len(stateful.vocabulary))
    guarded = generate(stateful, prompts, guard)
    for prompt, written in zip(prompts, guarded, strict=True):
        assert len(written.text) == 200
        shown = stateful.vocabulary.encode(prompt.seed + written.text).ids
        seed = stateful.vocabulary.encode(prompt.seed).ids
        allowed = max(longest, longest_copy([seed], source)[0] if len(seed) else 0)
        assert longest_copy([shown], source)[0] <= allowed
        assert longest_copy([stateful.vocabulary.encode(written.text).ids], source)[0] <= longest


def test_a_guarded_text_does_not_depend_on_its_neighbours(stateful: Model):
    prompts = [Prompt("So be", 120, rng_seed=n) for n in range(3)]
    source = stateful.vocabulary.encode(generate(stateful, prompts)[1].text).ids
    guard = VerbatimGuard(source, 4, len(stateful.vocabulary))
    together = generate(stateful, prompts, guard)
    assert together == [generate(stateful, [prompt], guard)[0] for prompt in prompts]


def test_a_text_that_copies_nothing_is_left_as_it_is(stateful: Model):
    prompt = Prompt("So be", 300)
    source = stateful.vocabulary.encode("tttttttttttttttttttttttttttttttttttttttt").ids
    guard = VerbatimGuard(source, 20, len(stateful.vocabulary))
    assert generate(stateful, [prompt], guard) == generate(stateful, [prompt])


def test_a_source_shorter_than_what_may_be_copied_forbids_nothing(stateful: Model):
    guard = VerbatimGuard(random_ids(1, 9, 3), 20, len(stateful.vocabulary))
    assert generate(stateful, [Prompt("a")], guard) == generate(stateful, [Prompt("a")])


def test_at_least_one_character_may_be_copied():
    with pytest.raises(OptionError, match="1 to 10,000 characters"):
        VerbatimGuard(random_ids(1, 9, 3), 0, 9)
