"""How fast this engine writes, beside others with the same network and the classic tutorial's loop.

    pip install -c constraints.txt -e '.[train,benchmark]'
    python benchmarks/writing.py --model shakespeare --threads 1 --rounds 5

Takes about two minutes.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.progress import track
from rich.table import Table
from rich.text import Text

from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model, load

LANES = (1, 4, 16, 64)
SAMPLING, ARGMAX = Sampling(), Sampling(temperature=0)
HERE, LOOP = "charrnn", "tutorial's loop"
SEED, REPLY_LENGTH = "To be, or not to be", 500  # characters
LOOP_LENGTH = 30  # characters a round: each takes the tutorial's loop 30 to 150 ms
PACKAGES = ("numpy", "onnxruntime", "tensorflow", "keras", "torch")

Write = Callable[[int, int], np.ndarray]  # B lanes, N characters -> ids (B, N)


@dataclass(frozen=True)
class Others:
    """Those that this engine is measured beside."""

    writers: Mapping[str, Write]  # with the same network, going on from its opening by SAMPLING
    loop: Callable[[int], str]  # the tutorial's: so many characters, going on from the last call
    threads: Mapping[str, int | None]  # of each library; None: what its environment says
    left_out: Sequence[str]  # for want of a package


@dataclass(frozen=True)
class Reply:
    """A text of REPLY_LENGTH characters, from the prompt to the text."""

    milliseconds: float
    milliseconds_per_character: float
    times_as_fast: float  # as the tutorial's loop, a character each


@dataclass(frozen=True)
class Results:
    """What one run came to; all times are medians of it."""

    model: str
    sampling: Sampling
    length: int  # characters a lane
    rounds: int
    processor: str
    cores: int | None
    versions: dict[str, str]
    threads: dict[str, int | None]
    left_out: list[str]
    # By contestant and number of lanes. The tutorial's loop writes one text after the other.
    characters_per_second: dict[str, dict[int, float]]
    times_as_fast: dict[str, dict[int, float]]  # as each of them, this engine is
    loop_length: int  # characters a round, over which the tutorial's loop was measured
    loop_milliseconds_per_character: float
    reply: Reply  # with `model`
    othello: Reply  # with the tutorial's network, under argmax
    compared_characters: int  # that this engine and the loop wrote with the tutorial's network
    same_characters: bool


def run(
    model: Model,
    tutorial: Model,
    others: Others,
    rounds: int,
    length: int,
    clock: Callable[[], float] = time.perf_counter,
    track: Callable[[list[Any]], Iterable[Any]] = iter,
) -> Results:
    """Let this engine write with `model`, and with the `tutorial` network, in turns with `others`;
    `track` is handed the turns to be taken and gives them back one by one."""

    def here(lanes: int) -> list[str]:
        prompts = [Prompt("", length, SAMPLING, rng_seed) for rng_seed in range(lanes)]
        return [written.text for written in generate(model, prompts)]

    def there(write: Write, lanes: int) -> list[str]:
        return [model.vocabulary.decode(ids) for ids in write(lanes, length)]

    writers = {HERE: here} | {n: partial(there, write) for n, write in others.writers.items()}
    tasks: dict[Any, Callable[[], Any]] = {
        (name, lanes): partial(write, lanes) for lanes in LANES for name, write in writers.items()
    }
    looped: list[str] = []
    tasks[LOOP] = lambda: looped.append(others.loop(LOOP_LENGTH))
    tasks["reply"] = lambda: generate(model, [Prompt(SEED, REPLY_LENGTH, SAMPLING)])
    tasks["othello"] = lambda: generate(tutorial, [Prompt("", REPLY_LENGTH, ARGMAX)])
    seconds = medians(tasks, rounds, clock, track)

    speeds = {
        name: {lanes: lanes * length / seconds[name, lanes] for lanes in LANES} for name in writers
    }
    speeds[LOOP] = dict.fromkeys(LANES, LOOP_LENGTH / seconds[LOOP])
    loop_ms = 1000 * seconds[LOOP] / LOOP_LENGTH

    def reply(name: str) -> Reply:
        ms = 1000 * seconds[name]
        return Reply(ms, ms / REPLY_LENGTH, loop_ms / (ms / REPLY_LENGTH))

    loop_text = "".join(looped)
    [here_too] = generate(tutorial, [Prompt("", len(loop_text), ARGMAX)])
    return Results(
        model=model.name,
        sampling=SAMPLING,
        length=length,
        rounds=rounds,
        processor=processor(),
        cores=os.cpu_count(),
        versions=versions(),
        threads=dict(others.threads),
        left_out=list(others.left_out),
        characters_per_second=speeds,
        times_as_fast={
            name: {lanes: speeds[HERE][lanes] / speed[lanes] for lanes in LANES}
            for name, speed in speeds.items()
        },
        loop_length=LOOP_LENGTH,
        loop_milliseconds_per_character=loop_ms,
        reply=reply("reply"),
        othello=reply("othello"),
        compared_characters=len(loop_text),
        same_characters=here_too.text == loop_text,
    )


def medians(
    tasks: Mapping[Any, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float],
    track: Callable[[list[Any]], Iterable[Any]] = iter,
) -> dict[Any, float]:
    """Seconds that each task takes. They take turns, so that whatever else goes on in the machine
    meets all of them; the first round, in which some compile, is not counted."""
    seconds: dict[Any, list[float]] = {name: [] for name in tasks}
    for number, name in track([(n, name) for n in range(rounds + 1) for name in tasks]):
        start = clock()
        tasks[name]()
        if number > 0:
            seconds[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def versions() -> dict[str, str]:
    """Of Python and the packages in use."""
    loaded = {name: sys.modules[name] for name in PACKAGES if name in sys.modules}
    return {"python": platform.python_version()} | {
        name: str(module.__version__) for name, module in loaded.items()
    }


def processor() -> str:
    """Its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def tables(results: Results) -> Group:
    """How fast this engine writes, beside others and the tutorial's loop."""
    r = results
    speeds = Table("", *(f"{lanes} lane{'s' * (lanes > 1)}" for lanes in LANES))
    speeds.title = f"{r.model}, characters a second (and how many times as fast {HERE} is)"
    for name, speed in r.characters_per_second.items():
        cells = [f"{_figure(speed[n])} ({_figure(r.times_as_fast[name][n])})" for n in LANES]
        speeds.add_row(name, *cells)
    replies = Table("", "ms", "ms a character", "the loop's", "times as fast")
    replies.title = f"{HERE}, a text of {REPLY_LENGTH} characters, beside the {LOOP}"
    for name, reply in ((r.model, r.reply), ("othello, argmax", r.othello)):
        times = (reply.milliseconds, reply.milliseconds_per_character)
        times += (r.loop_milliseconds_per_character, reply.times_as_fast)
        replies.add_row(name, *map(_figure, times))
    for table in (speeds, replies):
        table.title_justify = "left"
        for column in table.columns[1:]:
            column.justify = "right"
    compared = "the same" if r.same_characters else "NOT the same"
    threads = (f"{name} {count or 'as it likes'}" for name, count in r.threads.items())
    notes = [
        f"The {LOOP} has its own network and writes one text at a time, whatever the lanes; "
        f"it was measured over {r.loop_length} characters a round.",
        f"With that network, under argmax, it and {HERE} wrote {r.compared_characters} characters: "
        f"{compared}.",
        f"{r.processor}, {r.cores} cores; threads: {', '.join(threads)}.",
        f"Medians of {r.rounds} rounds of {r.length} characters a lane, all taking turns.",
        ", ".join(f"{name} {version}" for name, version in r.versions.items()),
        *(f"Left out, for it is not installed: {name}." for name in r.left_out),
    ]
    return Group(speeds, "", replies, "", *(Text(note, style="dim") for note in notes))


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast charrnn writes, beside others.")
    parser.add_argument("--model", default="shakespeare")
    parser.add_argument("--threads", type=int, default=1, help="for each contestant")
    parser.add_argument("--rounds", type=int, default=5, help="turns that are counted")
    parser.add_argument("--length", type=int, default=100, help="characters a text")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    import contestants  # it imports this module, which is __main__ here

    model, tutorial = load(options.model, options.threads), load("othello", options.threads)
    others = contestants.others(model, tutorial, options.threads)
    # A bar that moves only between turns takes no time from the contestants.
    notes = Console(stderr=True)
    shown = partial(track, description="", console=notes, auto_refresh=False, transient=True)
    results = run(model, tutorial, others, options.rounds, options.length, track=shown)
    if options.json:
        print(json.dumps(asdict(results)))
    else:
        Console().print(tables(results))


if __name__ == "__main__":
    main()
