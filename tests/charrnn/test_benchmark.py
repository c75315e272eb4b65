import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from rich.console import Console

from charrnn import benchmark, contestants, export, store, tables
from charrnn.benchmark import LANES, LOOP_LENGTH, Others, Write
from charrnn.engine import Engine
from charrnn.errors import OptionError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from tests.charrnn.test_cli import charrnn

NAMES = ["NumPy", "TensorFlow", "PyTorch", "PyTorch nn.LSTM"]


class Clock:
    """Time passes by a second whenever somebody looks, and as it is told."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture(scope="module")
def float32(stateful: Model) -> Model:
    keras_model = export.load_keras(stateful.folder / store.KERAS)
    graph = export.writing_graph(keras_model, int8=False)
    return replace(stateful, engine=Engine(graph, stateful.card.spec))


@pytest.fixture(scope="module")
def writers(float32: Model, windowed: Model) -> dict[str, Write]:
    return dict(contestants.others(float32, windowed, threads=1).writers)


@pytest.mark.parametrize("name", NAMES)
def test_others_write_what_this_engine_writes_in_float32(
    float32: Model, writers: dict[str, Write], name: str
):
    if name.startswith("PyTorch") and not find_spec("torch"):
        pytest.skip("PyTorch is not installed; it comes with the extra `benchmark`")
    prompts = [Prompt("", 60, benchmark.SAMPLING, rng_seed) for rng_seed in range(5)]
    expected = [written.text for written in generate(float32, prompts)]
    written = [float32.vocabulary.decode(ids) for ids in writers[name](5, 60)]
    assert written == expected
    assert len(set(written)) == 5


def test_the_tutorials_loop_goes_on_and_writes_what_this_engine_writes(windowed: Model):
    loop = contestants.tutorials_loop(windowed)
    [expected] = generate(windowed, [Prompt("", 12, Sampling(temperature=0))])
    assert loop(7) + loop(5) == expected.text
    assert len(set(expected.text)) > 3


def test_they_take_turns_and_the_first_round_is_not_counted():
    clock, turns = Clock(), []

    def taking(name: str, *seconds: float) -> Callable[[], None]:
        left = iter(seconds)

        def task() -> None:
            turns.append(name)
            clock.now += next(left)

        return task

    tasks = {"a": taking("a", 100, 1, 9, 5), "b": taking("b", 50, 0, 0, 20)}
    assert benchmark.medians(tasks, 3, clock) == {"a": 5 + 1, "b": 0 + 1}
    assert turns == ["a", "b"] * 4


@pytest.fixture
def results(stateful: Model, windowed: Model) -> benchmark.Results:
    """Of a benchmark in which this engine takes a second each time and NumPy, of NumPy and
    PyTorch, three; and the loop 101."""
    clock = Clock()
    [text] = generate(windowed, [Prompt("", 3 * LOOP_LENGTH, Sampling(temperature=0))])
    ahead = iter(text.text)

    def write(lanes: int, length: int) -> np.ndarray:
        clock.now += 2
        return np.zeros((lanes, length), np.int64)

    def loop(length: int) -> str:
        clock.now += 100
        return "".join(next(ahead) for _ in range(length))

    others = Others({"NumPy": write}, loop, {"numpy": None, "onnxruntime": 2}, ["PyTorch"])
    return benchmark.run(stateful, windowed, others, rounds=2, length=9, clock=clock)


def test_speeds_are_of_all_lanes_together_and_the_loop_writes_one_text_at_a_time(
    results: benchmark.Results,
):
    assert results.characters_per_second["charrnn"] == {n: 9 * n for n in LANES}
    assert results.characters_per_second["NumPy"] == {n: 3 * n for n in LANES}
    assert set(results.characters_per_second["tutorial's loop"].values()) == {LOOP_LENGTH / 101}
    assert results.times_as_fast["NumPy"] == dict.fromkeys(LANES, 3)
    assert results.times_as_fast["tutorial's loop"][64] == pytest.approx(9 * 64 * 101 / LOOP_LENGTH)
    assert results.reply.milliseconds == 1000
    assert results.othello.times_as_fast == pytest.approx(101 / LOOP_LENGTH * 500)
    assert results.compared_characters == 3 * LOOP_LENGTH
    assert results.same_characters


def test_the_table_says_what_was_measured_and_what_was_left_out(results: benchmark.Results):
    console = Console(width=100)
    with console.capture() as capture:
        console.print(tables.benchmark(results))
    page = " ".join(capture.get().split())
    for words in (
        "tiny, characters a second",
        "12 (3)",
        f"it and charrnn wrote {3 * LOOP_LENGTH} characters: the same.",
        f"measured over {LOOP_LENGTH} characters a round",
        "numpy as it likes, onnxruntime 2",
        "Left out, for it is not installed: PyTorch.",
    ):
        assert words in page
    assert "NOT the same" not in page


def test_a_model_without_carried_state_is_refused(windowed: Model):
    with pytest.raises(OptionError, match="sliding carries no state"):
        contestants.others(windowed, windowed, threads=1)


def test_the_command_prints_json_with_the_tutorials_own_characters_the_same(stateful: Model):
    options = ("--rounds", 1, "--length", 3, "--threads", 1, "--json")
    printed = json.loads(charrnn("benchmark", "--model", stateful.folder, *options))
    installed = [name for name in NAMES if not name.startswith("PyTorch") or find_spec("torch")]
    assert list(printed["characters_per_second"]) == ["charrnn", *installed, "tutorial's loop"]
    assert list(printed["times_as_fast"]["NumPy"]) == ["1", "4", "16", "64"]
    assert printed["same_characters"]
    assert printed["compared_characters"] == 2 * LOOP_LENGTH
    assert printed["threads"]["tensorflow"] == 1
    assert {"python", "numpy", "onnxruntime", "tensorflow", "keras"} <= set(printed["versions"])
    assert printed["processor"]
