import doctest
from pathlib import Path

import numpy as np
import pytest

from charrnn import verbatim
from charrnn.errors import ModelError, OptionError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from charrnn.verbatim import MAX_LONGEST, VerbatimGuard, longest_copy
from tests.conftest import random_ids


def test_the_examples_in_the_documentation():
    assert doctest.testmod(verbatim).failed == 0


def naive_longest(text: np.ndarray, source: np.ndarray) -> int:
    """The length of the longest copy, by comparing all pairs of places."""
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


def test_texts_without_a_common_character_share_no_copy():
    assert longest_copy([np.array([1, 2], np.int32)], np.array([3, 4], np.int32))[0] == 0


@pytest.mark.parametrize("longest", [1, 5, 12])
def test_no_text_copies_more_than_it_may(stateful: Model, longest: int):
    prompts = [
        Prompt(seed, 200, Sampling(0.0 if n == 1 else 0.8), rng_seed=n)
        for n, seed in enumerate(["", "So be it", "Hero", "So be it. Hero. And one for thee"])
    ]
    # The source is what the model writes without a guard, so every lane wants to copy.
    free = generate(stateful, prompts)
    written = "".join(generated.text for generated in free)
    source = stateful.vocabulary.encode(written).ids
    guard = stateful.guard_against(written, longest)
    for prompt, generated in zip(prompts, generate(stateful, prompts, guard), strict=True):
        assert len(generated.text) == 200
        seed, text, both = (
            stateful.vocabulary.encode(part).ids
            for part in (prompt.seed, generated.text, prompt.seed + generated.text)
        )
        assert longest_copy([text], source)[0] <= longest
        assert longest_copy([both], source)[0] <= max(longest, longest_copy([seed], source)[0])


def test_a_guarded_text_does_not_depend_on_other_lanes(stateful: Model):
    prompts = [Prompt("So be", 120, rng_seed=n) for n in range(3)]
    guard = stateful.guard_against(generate(stateful, prompts)[1].text, longest=4)
    together = generate(stateful, prompts, guard)
    assert together == [generate(stateful, [prompt], guard)[0] for prompt in prompts]


@pytest.mark.parametrize("source", ["t" * 40, "So"])
def test_a_text_that_copies_nothing_is_not_changed(stateful: Model, source: str):
    prompt = Prompt("So be", 300)
    assert generate(stateful, [prompt], stateful.guard_against(source, 20)) == generate(
        stateful, [prompt]
    )


def test_a_guard_of_another_model_is_refused(stateful: Model, windowed: Model):
    guard = windowed.guard_against("so be it", 3)
    with pytest.raises(OptionError, match="made for another model than tiny"):
        generate(stateful, [Prompt("So be")], guard)


@pytest.mark.parametrize("longest", [0, MAX_LONGEST + 1])
def test_a_limit_out_of_range_is_refused(longest: int):
    with pytest.raises(OptionError, match="1 to 10,000 characters"):
        VerbatimGuard.of(random_ids(1, 9, 3), longest, 9)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "guard.npz"
    VerbatimGuard.of(random_ids(1, 9, 50), 3, 9).save(path)
    return path


def test_a_guard_is_read_as_it_was_written(saved: Path):
    run = random_ids(1, 9, 50)[10:13]
    guard = VerbatimGuard.load(saved, 9)
    assert (guard.longest, guard.characters) == (3, 9)
    assert random_ids(1, 9, 50)[13] in guard.followers_of(run)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"text"])
def test_a_file_that_is_not_a_guard_is_refused(saved: Path, content: bytes):
    saved.write_bytes(content)
    with pytest.raises(ModelError, match=r"guard\.npz is damaged"):
        VerbatimGuard.load(saved, 9)


class Bomb:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("something was unpickled",)


@pytest.mark.parametrize(
    "changes",
    [
        {"runs": np.array([Bomb()])},
        *({"limits": np.array(limits)} for limits in ([3], ["a", "b"])),
        *({"limits": np.array([longest, 9])} for longest in (-3, 0, MAX_LONGEST + 1)),
        {"limits": np.array([3, 8])},
    ],
)
def test_an_archive_of_other_arrays_is_refused(saved: Path, changes: dict[str, np.ndarray]):
    with np.load(saved) as arrays:
        np.savez(saved, allow_pickle=True, **{**arrays, **changes})
    with pytest.raises(ModelError, match=r"guard\.npz is damaged"):
        VerbatimGuard.load(saved, 9)
