"""How fast charrnn writes, compared with other frameworks and with the classic tutorial's loop.

    pip install -c constraints.txt -e '.[train,benchmark]'
    python benchmarks/writing.py --model shakespeare --threads 1 --rounds 5

The other frameworks run the same network; PyTorch is left out if it is not installed. Takes about
two minutes.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import contestants
import tensorflow as tf
from contestants import SAMPLING, Write
from measuring import machine, medians, versions

from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model, load

LANES = (1, 4, 16, 64)
ARGMAX = Sampling(temperature=0)
SEED, REPLY_LENGTH = "To be, or not to be", 500  # characters
LOOP_LENGTH = 30  # characters a round, each of which takes the tutorial's loop 30 to 150 ms


def charrnn_writes(model: Model, length: int, lanes: int) -> None:
    generate(model, [Prompt("", length, SAMPLING, rng_seed) for rng_seed in range(lanes)])


def other_writes(model: Model, length: int, write: Write, lanes: int) -> None:
    for ids in write(lanes, length):
        model.vocabulary.decode(ids)


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast charrnn writes, beside others.")
    parser.add_argument("--model", default="shakespeare", help="must be stateful")
    parser.add_argument("--threads", type=int, default=1, help="for each contestant")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=int, default=100, help="characters a lane")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    model, tutorial = load(options.model, options.threads), load("othello", options.threads)
    others = contestants.others(model, options.threads)
    loop = contestants.tutorials_loop(tutorial)

    writers = {"charrnn": partial(charrnn_writes, model, options.length)} | {
        name: partial(other_writes, model, options.length, write) for name, write in others.items()
    }
    looped: list[str] = []
    replies: dict[str, Callable[[], Any]] = {
        model.name: lambda: generate(model, [Prompt(SEED, REPLY_LENGTH, SAMPLING)]),
        "othello, argmax": lambda: generate(tutorial, [Prompt("", REPLY_LENGTH, ARGMAX)]),
    }
    tasks: dict[Any, Callable[[], Any]] = {
        **{(name, n): partial(write, n) for n in LANES for name, write in writers.items()},
        **replies,
        "loop": lambda: looped.append(loop(LOOP_LENGTH)),
    }
    seconds = medians(tasks, options.rounds)

    print(row("characters a second", *(f"{n} lane{'s' * (n > 1)}" for n in LANES)))
    print(row("---", *("---:" for _ in LANES)))
    speeds = {name: [n * options.length / seconds[name, n] for n in LANES] for name in writers}
    speeds["the tutorial's loop"] = [LOOP_LENGTH / seconds["loop"]] * len(LANES)
    for name, speed in speeds.items():
        ratios = [ours / other for ours, other in zip(speeds["charrnn"], speed, strict=True)]
        cells = [f"{figure(s)} ({figure(r)})" for s, r in zip(speed, ratios, strict=True)]
        print(row(name, *cells))
    print("\nIn brackets: how many times as fast charrnn is.\n")

    loop_ms = 1000 * seconds["loop"] / LOOP_LENGTH
    print(row(f"a text of {REPLY_LENGTH} characters", "ms", "the loop, ms a character", "ratio"))
    print(row("---", "---:", "---:", "---:"))
    for name in replies:
        ms = 1000 * seconds[name]
        print(row(name, figure(ms), figure(loop_ms), figure(loop_ms * REPLY_LENGTH / ms)))

    loop_text = "".join(looped)
    [written] = generate(tutorial, [Prompt("", len(loop_text), ARGMAX)])
    same = "the same" if written.text == loop_text else "NOT the same"
    print(f"\nBy argmax, charrnn and the loop wrote {same} {len(loop_text)} characters.")
    print(f"Medians of {options.rounds} rounds of {options.length} characters a lane.")
    print(f"{machine()}; {options.threads} threads; {versions()}.")


if __name__ == "__main__":
    main()
