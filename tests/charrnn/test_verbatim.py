import doctest
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import store, verbatim
from charrnn.errors import ModelError, OptionError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from charrnn.verbatim import MAX_LONGEST, VerbatimGuard, longest_copy
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


def archive(method: int = zipfile.ZIP_STORED, shape: str = "(5,)", **changes: np.ndarray) -> bytes:
    """A guard's, of five runs, but for the `changes`; its arrays are said to be of a `shape`."""
    honest, said = b"(5,), }" + b" " * 20, f"{shape}, }}".ljust(27).encode()
    arrays = {
        "limits": np.array([3, 42], np.int64),
        "runs": np.arange(5, dtype=np.uint64),
        "followers": np.arange(5, dtype=np.int32),
        "blocks": np.arange(5, dtype=np.uint64),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as whole:
        for name, array in (arrays | changes).items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=True)
            whole.writestr(f"{name}.npy", content.getvalue().replace(honest, said))
    return file.getvalue()


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("something was unpickled",)


@pytest.mark.parametrize(
    "content",
    [
        archive(runs=np.array([Bomb()])),
        archive(zipfile.ZIP_DEFLATED, runs=np.zeros(10**7, np.uint64)),
        archive(runs=np.zeros(2, np.uint64)),
        archive(runs=np.zeros(5)),
        archive(runs=np.zeros((5, 1), np.uint64)),
        archive(followers=np.full(5, 42, np.int32)),
        archive(followers=np.full(5, -1, np.int32)),
        archive(limits=np.array([0, 42])),
        archive(limits=np.array([MAX_LONGEST + 1, 42])),
        archive(limits=np.array([3, 2**62])),
        archive(limits=np.array([3])),
        archive(shape="(1000000000000000,)"),
        archive(shape="(5, 1)"),
        archive(shape="(" * 20),
    ],
)
def test_a_guard_that_means_harm_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / store.GUARD).write_bytes(content)
    with pytest.raises(ModelError, match=r"guard\.npz"):
        VerbatimGuard.load(tmp_path / store.GUARD, 42)


def test_the_archive_that_the_others_differ_from_is_a_guards(tmp_path: Path):
    (tmp_path / store.GUARD).write_bytes(archive())
    assert VerbatimGuard.load(tmp_path / store.GUARD, 42).longest == 3
